"""Model repositories for servers of other projects."""

import json
from pathlib import Path

import onnx
import pytest
import yaml

import lenext
from lenext.cli import run as run_command
from lenext.exporting.repositories import MAX_BATCH, service_name
from lenext.runs.layout import SELF_TEST_SUFFIX
from tests.serving.conftest import write_weights

TYPES = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "my digits@2.safetensors")


def read_configuration(path: Path) -> dict[str, list[tuple[str, str, list[int]]]]:
    """The tensors of a Triton configuration, by `input` and `output`."""
    text = path.read_text()
    tensors: dict[str, list[tuple[str, str, list[int]]]] = {}
    for kind in ("input", "output"):
        part = text[text.index(f"\n{kind} [") :].split("\n]")[0]
        tensors[kind] = [
            (
                each.split('name: "')[1].split('"')[0],
                each.split("data_type: ")[1].split()[0],
                [int(side) for side in each.split("dims: [")[1].split("]")[0].split(",")],
            )
            for each in part.split("{")[1:]
        ]
    return tensors


@pytest.mark.parametrize("network_only", [False, True])
def test_tritons_configuration_is_that_of_the_file(weights: Path, tmp_path: Path, network_only: bool) -> None:
    exported = lenext.export(
        weights, server="triton", out=tmp_path / "models", unverified=True, quiet=True, network_only=network_only
    )
    folder = tmp_path / "models" / "my digits@2"
    assert exported.path == folder / "1" / "model.onnx"
    graph = onnx.load(exported.path).graph
    found = read_configuration(folder / "config.pbtxt")
    for kind, tensors in (("input", graph.input), ("output", graph.output)):
        expected = []
        for each in tensors:
            sides = [side.dim_value or -1 for side in each.type.tensor_type.shape.dim]
            assert sides[0] == -1, "any batch"
            expected.append((each.name, TYPES[each.type.tensor_type.elem_type], sides[1:]))
        assert found[kind] == expected
    text = (folder / "config.pbtxt").read_text()
    assert f"max_batch_size: {MAX_BATCH}\n" in text
    assert 'name: "my digits@2"' in text
    assert (folder / "labels.txt").read_text().split() == list("0123456789")


def test_the_other_servers_have_their_files(weights: Path, tmp_path: Path) -> None:
    lenext.export(weights, server="ovms", out=tmp_path / "ovms", unverified=True, quiet=True)
    (model,) = json.loads((tmp_path / "ovms" / "config.json").read_text())["model_config_list"]
    assert model["config"] == {"name": "my digits@2", "base_path": "/models/my digits@2"}
    assert (tmp_path / "ovms" / "my digits@2" / "1" / "model.onnx").is_file()
    lenext.export(weights, server="kserve", out=tmp_path / "kserve", unverified=True, quiet=True)
    (triton,) = yaml.safe_load_all((tmp_path / "kserve" / "triton.yaml").read_text())
    runtime, ovms = yaml.safe_load_all((tmp_path / "kserve" / "ovms.yaml").read_text())
    assert triton["metadata"]["name"] == ovms["metadata"]["name"] == "my-digits-2"
    assert ovms["spec"]["predictor"]["model"]["runtime"] == runtime["metadata"]["name"]
    assert "--model_path=/mnt/models/my digits@2" in runtime["spec"]["containers"][0]["args"]
    assert (tmp_path / "kserve" / "my digits@2" / "config.pbtxt").is_file()


def test_a_repository_keeps_its_self_test(tmp_path: Path) -> None:
    lenext.train("lenet", "digits", epochs=1, train_samples=200, runs_dir=tmp_path, name="run", quiet=True)
    exported = lenext.export(tmp_path / "run", server="triton", quiet=True)
    assert exported.path == tmp_path / "run" / "exports" / "run-triton" / "run" / "1" / "model.onnx"
    assert exported.path.with_name(f"model.onnx{SELF_TEST_SUFFIX}").is_file()
    assert lenext.check_export(exported.path, quiet=True) < 1e-5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "torchserve"], "torchserve"), (["--for", "triton", "--format", "openvino"], "has ONNX"),
        (["--for", "triton", "--out", "{file}"], "a model repository is a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    (tmp_path / "file").write_text("x")
    given = [each.format(file=tmp_path / "file") for each in options]
    assert run_command(["export", str(weights), "--unverified", *given]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ResNet18_32px@2", "resnet18-32px-2"), ("3", "model-3"), ("ü", "model"), ("a" * 99, "a" * 40)],
)
def test_names_are_those_that_kubernetes_takes(name: str, expected: str) -> None:
    assert service_name(name) == expected
