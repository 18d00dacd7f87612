"""A run as one file: its answers are those of predict, and what is tampered with or does not fit is refused."""

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

import lenext
from lenext.cli import run as run_command_line
from lenext.data.preprocessing import Preprocessing
from lenext.exporting import engines, extras, formats
from lenext.exporting.onnx_file import export_pixels_to_probabilities
from lenext.exporting.quantization import Gate, quantize
from lenext.exporting.self_test import SelfTest
from lenext.exporting.verification import Verification, VerificationError
from lenext.foundation.device import cpu_has_bf16
from lenext.foundation.errors import ConfigurationError, DataError, LenextError, RunError
from lenext.foundation.normalization import Normalization
from lenext.models import create
from lenext.reporting.redaction import redact_paths
from lenext.runs.folder import Run
from lenext.runs.layout import SELF_TEST_SUFFIX as SELF_TEST
from lenext.runs.predict import Prediction
from lenext.workflows.export import Exported
from lenext.workflows.opened_run import open_run

BF16_DIFFERENCE = 0.03  # of a probability, between fp32 and an engine that computes in bf16
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 3)
        self.strange = Strange()
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.strange(self.first(x)).mean((2, 3)))

class Strange(nn.Module):
    def forward(self, x):
        return x * 2 if float(x.detach().mean()) > 0 else x * 3
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet on the digits, three epochs."""
    return lenext.train("lenet", "digits", runs_dir=tmp_path_factory.mktemp("runs"), epochs=3, quiet=True)


@pytest.fixture(scope="module")
def exported(run: Run) -> Exported:
    return lenext.export(run, licence="MIT", quiet=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of odd sizes, grey and in colour."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index, size in enumerate([(8, 8), (31, 17), (100, 140), (5, 90), (28, 28), (64, 63)]):
        pixels = random.integers(0, 256, (*size, 3) if index % 2 else size, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """The exported file and its self-test, elsewhere."""
    for suffix in ("", SELF_TEST):
        shutil.copy(f"{exported.path}{suffix}", tmp_path)
    return tmp_path / exported.path.name


def probabilities(found: list[Any]) -> list[tuple[str, ...] | tuple[float, ...]]:
    return [entry for one in found if isinstance(one, Prediction) for entry in (one.classes, one.probabilities)]


def test_the_file_says_what_it_is(run: Run, exported: Exported) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(str(exported.path)).metadata_props}
    assert json.loads(metadata["classes"]) == [str(digit) for digit in range(10)]
    assert metadata["license"] == "MIT"
    assert metadata["recipe"] == redact_paths(run.experiment.to_yaml())
    assert json.loads(metadata["split_fingerprints"]) == run.read_json("split.json")["fingerprints"]
    assert json.loads(metadata["verification"])["images"] == 144
    assert json.loads(metadata["versions"])["torch"] == torch.__version__
    assert str(Path.cwd()) not in exported.path.read_bytes().decode("latin-1")  # no path of this machine
    card = exported.card.read_text()
    assert "95 % interval" in card
    assert "lenext check-export" in card
    graph = onnx.load(str(exported.path)).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixels", "probabilities", "logits"]


@pytest.mark.parametrize("engine", [None, "onnxruntime", "openvino"])
def test_its_answers_are_those_of_predict(run: Run, exported: Exported, photos: Path, engine: Any) -> None:
    expected = lenext.predict(run, photos, top=10, precision="fp32")
    found = lenext.predict(exported.path, photos, top=10, engine=engine)
    tolerance = 1e-5 if engine != "openvino" else BF16_DIFFERENCE if cpu_has_bf16() else 2e-3
    for ours, theirs in zip(expected, found, strict=True):
        assert isinstance(ours, Prediction)
        assert isinstance(theirs, Prediction)
        assert [text.split(":")[0] for text in ours.remarks[:1]] == [text.split(":")[0] for text in theirs.remarks[:1]]
        by_class = dict(zip(ours.classes, ours.probabilities, strict=True))
        for name, value in zip(theirs.classes, theirs.probabilities, strict=True):
            assert value == pytest.approx(by_class[name], abs=tolerance)
        assert theirs.engine.startswith(engine or "onnxruntime")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "auto"])
def test_engines_answer_as_torch_does(run: Run, photos: Path, engine: Any, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENEXT_DATA", str(tmp_path))
        expected = lenext.predict(run, photos, top=3, precision="fp32")
        found = lenext.predict(run, photos, top=3, engine=engine)
        tolerance = BF16_DIFFERENCE if cpu_has_bf16() and engine != "onnxruntime" else 1e-5
        for ours, theirs in zip(probabilities(expected), probabilities(found), strict=True):
            assert ours == (theirs if isinstance(ours[0], str) else pytest.approx(theirs, abs=tolerance))
        assert len(list(tmp_path.rglob("*.onnx"))) == 1  # kept for the next time
        measured = lenext.val(run, engine=engine, quiet=True)
        exact = lenext.val(run, quiet=True, precision="fp32")
        assert torch.allclose(measured.probabilities, exact.probabilities, atol=tolerance)


def test_val_of_a_file(run: Run, exported: Exported) -> None:
    measured = lenext.val(exported.path, data="digits", quiet=True)
    assert measured.accuracy == lenext.val(run, split="test", quiet=True, precision="fp32").accuracy
    with pytest.raises(ConfigurationError, match="give --data"):
        lenext.val(exported.path, quiet=True)
    with pytest.raises(ConfigurationError, match="weights=best"):
        lenext.val(exported.path, data="digits", weights="best", quiet=True)


@pytest.mark.slow
def test_openvinos_format(run: Run, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    made = lenext.export(run, format="openvino", out=path, quiet=True)
    assert made.verification is not None
    assert lenext.check_export(path, quiet=True) <= 2e-3
    expected = lenext.predict(run, photos, precision="fp32")
    assert [one.classes for one in lenext.predict(path, photos) if isinstance(one, Prediction)] == [
        one.classes for one in expected if isinstance(one, Prediction)
    ]
    with pytest.raises(ConfigurationError, match="leave the engine out"):
        lenext.predict(path, photos, engine="onnxruntime")


@pytest.mark.slow
def test_a_program_of_torch(run: Run, photos: Path, tmp_path: Path) -> None:
    made = lenext.export(run, format="pt2", out=tmp_path / "net.pt2", quiet=True)
    program = torch.export.load(made.path).module()
    pixels = np.array(Image.open(photos / "2.png").convert("L"))[None, None]
    found, _ = program(torch.from_numpy(pixels))
    (expected,) = lenext.predict(run, photos / "2.png", precision="fp32")
    assert isinstance(expected, Prediction)
    assert float(found.detach().max()) == pytest.approx(expected.probabilities[0], abs=1e-5)
    assert str(Path(lenext.__file__).parent).encode() not in made.path.read_bytes()  # no path of this machine
    for work in (lambda: lenext.predict(made.path, photos), lambda: lenext.check_export(made.path, quiet=True)):
        with pytest.raises(RunError, match="can run code"):  # it is a pickle inside
            work()


def test_the_network_alone(run: Run, photos: Path, tmp_path: Path) -> None:
    made = lenext.export(run, network_only=True, out=tmp_path / "alone.onnx", quiet=True)
    metadata = {entry.key: entry.value for entry in onnx.load(str(made.path)).metadata_props}
    steps = json.loads(metadata["preprocessing"])
    assert steps["stored_size"] == [28, 28]
    assert len(steps["steps"]) == 3
    assert "images" in [value.name for value in onnx.load(str(made.path)).graph.input]
    assert lenext.check_export(made.path, quiet=True) <= 1e-5
    expected = lenext.predict(run, photos, precision="fp32")
    for ours, theirs in zip(probabilities(expected), probabilities(lenext.predict(made.path, photos)), strict=True):
        assert ours == (theirs if isinstance(ours[0], str) else pytest.approx(theirs, abs=1e-5))


ALONE = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lenext"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
pixels = numpy.load(sys.argv[2])
print(json.dumps(session.run(["probabilities"], {"pixels": pixels})[0].tolist()))
"""


def test_a_process_without_lenext_and_torch(run: Run, exported: Exported, photos: Path, tmp_path: Path) -> None:
    pixels = np.array(Image.open(photos / "2.png").convert("L"))
    np.save(tmp_path / "pixels.npy", pixels[None, None])
    words = [sys.executable, "-c", ALONE, str(exported.path), str(tmp_path / "pixels.npy")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    (expected,) = lenext.predict(run, photos / "2.png", top=10, precision="fp32")
    assert isinstance(expected, Prediction)
    for name, value in zip(expected.classes, expected.probabilities, strict=True):
        assert found[int(name)] == pytest.approx(value, abs=1e-5)


def test_python_of_the_card_runs(exported: Exported, copied: Path, photos: Path, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", exported.card.read_text(), re.DOTALL)
    assert code is not None
    shutil.copy(photos / "2.png", tmp_path / "photo.png")
    done = subprocess.run([sys.executable, "-c", code[1]], capture_output=True, text=True, check=True, cwd=tmp_path)
    (expected,) = lenext.predict(exported.path, photos / "2.png")
    assert isinstance(expected, Prediction)
    name, value = done.stdout.split()
    assert name == expected.classes[0]
    assert float(value) == pytest.approx(expected.probabilities[0], abs=1e-5)


def test_batches_of_any_size_have_equal_bits(exported: Exported) -> None:
    session, _, _ = formats.open_exported(exported.path)
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 30, 41), dtype=np.uint8)
    whole, _ = session(images)
    for size in (1, 2, 7):
        parts = [session(images[start : start + size])[0] for start in range(0, 64, size)]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_a_changed_file_is_refused(copied: Path, place: float) -> None:
    content = bytearray(copied.read_bytes())
    content[int(place * len(content))] ^= 1
    copied.write_bytes(bytes(content))
    with pytest.raises(RunError):
        lenext.check_export(copied, quiet=True)


def test_a_foreign_or_missing_file(copied: Path, exported: Exported, photos: Path, tmp_path: Path) -> None:
    model = onnx.load(str(exported.path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    for name, problem in (("foreign.onnx", "not of lenext"), ("none.onnx", "no such exported file")):
        with pytest.raises(RunError, match=problem):
            lenext.predict(tmp_path / name, photos)
    for suffix in (".onnx", ".xml", ".pt2"):
        (tmp_path / f"rubbish{suffix}").write_bytes(b"rubbish")
        with pytest.raises(RunError):
            lenext.predict(tmp_path / f"rubbish{suffix}", photos)
    Path(f"{copied}{SELF_TEST}").unlink()
    with pytest.raises(RunError, match="self-test is missing"):
        lenext.check_export(copied, quiet=True)


def test_answers_that_differ_are_not_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = formats.open_onnxruntime

    def drifting(model: bytes) -> Any:
        session = made(model)
        return lambda values: tuple(part + 1e-3 for part in session(values))

    monkeypatch.setattr(formats, "open_onnxruntime", drifting)
    with pytest.raises(VerificationError, match=r"largest difference of a probability 1\.0e-03"):
        lenext.export(run, out=tmp_path / "sub" / "net.onnx", quiet=True)
    assert run_command_line(["export", str(run.path), "--out", str(tmp_path / "net.onnx")]) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LenextError, match="No space left"):
        lenext.export(run, out=tmp_path / "sub" / "net.onnx", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported_names_the_layer(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    name = f"{tmp_path / 'net.py'}:Net"
    run = lenext.train(name, "digits", epochs=1, train_samples=60, runs_dir=tmp_path / "runs", quiet=True)
    with pytest.raises(ConfigurationError, match=r"strange \(Strange\) cannot be exported"):
        lenext.export(run, network=name, quiet=True)
    assert not (run.path / "exports").exists()


@pytest.mark.slow
def test_any_module(tmp_path: Path, photos: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    prepare = Preprocessing(3, (24, 20), "pad", (24, 20), "interpolate", Normalization((0.5,) * 3, (0.2,) * 3))
    with pytest.raises(ConfigurationError, match="needs classes"):
        lenext.export(network, out=tmp_path / "net.onnx", quiet=True)
    with pytest.raises(DataError, match="--verify-with FOLDER, or --unverified"):
        lenext.export(network, classes=("a", "b"), preprocessing=prepare, out=tmp_path / "net.onnx", quiet=True)
    made = lenext.export(
        network, classes=("a", "b"), preprocessing=prepare, out=tmp_path / "net.onnx", verify_with=photos, quiet=True
    )
    assert made.verification is not None
    assert made.verification.images == 6
    blind = lenext.export(
        network, classes=("a", "b"), preprocessing=prepare, out=tmp_path / "blind.onnx", unverified=True, quiet=True
    )
    assert blind.facts.verification == {"unverified": True}
    assert "--unverified" in blind.card.read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--format", "openvino", "--out", "a.onnx"], "ends in .xml"),
        (["--unverified", "--verify-with", "x"], "unverified"),
        (["--int8", "--network-only"], "int8"),
        (["--int8", "--format", "pt2"], "int8"),
        (["--verify-with", "nowhere"], "nowhere"),
        (["--pretrained"], "network"),
    ],
)
def test_options_that_do_not_fit(
    run: Run, words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["export", str(run.path), *words]) == 2
    message = capsys.readouterr().err
    assert problem in message
    assert message.count("\n") == 1


def test_a_missing_package_names_its_extra(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    for work in (lambda: lenext.export(run, quiet=True), lambda: lenext.predict(run, photos, engine="onnxruntime")):
        with pytest.raises(ConfigurationError, match=re.escape('pip install "lenext[onnx]"')):
            work()
    with pytest.raises(ConfigurationError, match=re.escape('pip install "lenext[openvino]"')):
        lenext.val(run, engine="openvino", quiet=True)
    (found, *_) = lenext.predict(run, photos, engine="auto")
    assert isinstance(found, Prediction)
    assert found.engine.startswith("torch")


def test_no_engine_opens_a_connection(exported: Exported, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any, **_: Any) -> None:
        raise AssertionError(f"a connection to {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    for engine in ("onnxruntime", "openvino"):
        assert len(lenext.predict(exported.path, photos, engine=engine)) == 6  # type: ignore[arg-type]


def make_gate(after: float, factor: float) -> Gate:
    seconds = {f"fp32, {size}": 1.0 for size in (1, 64)} | {f"int8, {size}": factor for size in (1, 64)}
    return Gate(1000, 0.9, after, seconds, 100, 30)


def test_int8_weights_take_seven_bits(run: Run) -> None:
    """Products of 8 bits would exceed the sums of processors without VNNI, which would answer otherwise."""
    opened = open_run(run.path)
    network, description = opened.weights
    model = quantize(export_pixels_to_probabilities(network, description.preprocessing), opened.data.train)
    weights = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer]
    rounded = [each for each in weights if each.dtype == np.int8 and each.ndim > 1]
    assert len(rounded) == 5  # two convolutions and three dense layers
    assert all(int(np.abs(each).max()) <= 64 for each in rounded)
    assert any(int(np.abs(each).max()) == 64 for each in rounded)


def test_the_gate_of_int8() -> None:
    assert make_gate(0.896, 0.7).refusal == ""
    assert "points of accuracy" in make_gate(0.894, 0.7).refusal
    assert "1.20 times as long" in make_gate(0.91, 1.2).refusal


@pytest.mark.slow
def test_int8_is_kept_or_refused_by_its_figures(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    code = run_command_line(["export", str(run.path), "--int8", "--out", str(path)])
    said = capsys.readouterr()
    assert code in (0, 3)
    assert path.exists() == (code == 0)
    if code == 0:
        assert (
            json.loads(
                next(entry.value for entry in onnx.load(str(path)).metadata_props if entry.key == "verification")
            )["int8"]["time_ratio"]
            < 1
        )
    else:
        assert re.search(r"int8: not written: it (loses|takes) \d", said.err)
        assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_none_are_never_equal(exported: Exported, copied: Path) -> None:
    _, facts, _ = formats.open_exported(exported.path)
    test = SelfTest.load(Path(f"{copied}{SELF_TEST}"), facts)

    def lost(values: Any) -> Any:
        return np.full((len(values), 10), np.nan, np.float32), np.zeros((len(values), 10), np.float32)

    with pytest.raises(VerificationError, match="nan"):
        test.check(lost, facts)
    found = Verification(1, 1, float("nan"), 0.0, (), 1e-5)
    assert not found.holds
    assert not Verification(1, 1, 0.0, float("nan"), (), 1e-5).holds


def test_a_self_test_of_other_weights_is_refused(exported: Exported, copied: Path) -> None:
    _, facts, _ = formats.open_exported(exported.path)
    other = dataclasses.replace(facts, weights_sha256="0" * 64)
    SelfTest.load(Path(f"{copied}{SELF_TEST}"), facts).save(Path(f"{copied}{SELF_TEST}"), other)
    with pytest.raises(RunError, match="of other weights"):
        lenext.check_export(copied, quiet=True)


@pytest.mark.slow
def test_a_file_without_a_check_keeps_no_old_self_test(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    lenext.export(run, out=path, quiet=True)
    assert Path(f"{path}{SELF_TEST}").exists()
    lenext.export(run, out=path, unverified=True, weights="last", quiet=True)
    assert not Path(f"{path}{SELF_TEST}").exists()
    card = (tmp_path / "net-MODEL_CARD.md").read_text()
    assert "of its best weights in fp32, not of this file" in card
    assert "It was not measured here." in card


@pytest.mark.slow
def test_openvinos_weights_are_checked(run: Run, photos: Path, tmp_path: Path) -> None:
    lenext.export(run, format="openvino", out=tmp_path / "net.xml", quiet=True)
    binary = tmp_path / "net.bin"
    content = bytearray(binary.read_bytes())
    content[len(content) // 2] ^= 1
    binary.write_bytes(bytes(content))
    with pytest.raises(RunError, match="has changed"):
        lenext.predict(tmp_path / "net.xml", photos)
    binary.unlink()
    with pytest.raises(RunError, match="weights are missing"):
        lenext.predict(tmp_path / "net.xml", photos)


def test_a_link_in_a_run_is_not_followed(run: Run, tmp_path: Path) -> None:
    linked = tmp_path / "run"
    shutil.copytree(run.path, linked)
    shutil.rmtree(linked / "exports", ignore_errors=True)
    (tmp_path / "elsewhere").mkdir()
    (linked / "exports").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="a link"):
        lenext.export(linked, quiet=True)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_module_is_left_as_it_was_and_checked(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)).double().train()
    prepare = Preprocessing(1, (8, 8), "crop", (8, 8), "interpolate", Normalization((0.5,), (0.2,)))
    wrong: dict[str, Any] = {"preprocessing": prepare, "unverified": True, "out": tmp_path / "net.onnx", "quiet": True}
    with pytest.raises(ConfigurationError, match="2 classes"):
        lenext.export(network, classes=("a", "b"), **wrong)
    with pytest.raises(ConfigurationError, match="the module has its own weights"):
        lenext.export(network, classes=("a", "b", "c"), weights="last", **wrong)
    assert network.training
    assert network[2].weight.dtype == torch.float64
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("has_bf16", "name", "many", "expected"),
    [
        (True, "resnet18_32px", True, "openvino bf16"),
        (True, "resnet18_32px", False, "openvino bf16"),
        (True, "lenet", False, "onnxruntime fp32"),
        (True, "lenet", True, "openvino bf16"),
        (True, "convnext_patch4_corrected", True, "openvino fp32"),
        (True, "convnext_patch4_corrected", False, "openvino fp32"),
        (True, "convnext_32px", True, "openvino bf16"),
        (False, "resnet18_32px", True, "onnxruntime fp32"),
        (False, "convnext_patch4_corrected", True, "onnxruntime fp32"),
    ],
)
def test_what_auto_picks(has_bf16: bool, name: str, many: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cpu_has_bf16", lambda: has_bf16)
    channels, size = (1, 28) if name == "lenet" else (3, 32)
    normalization = Normalization((0.5,) * channels, (0.2,) * channels)
    prepare = Preprocessing(channels, (size, size), "crop", (size, size), "interpolate", normalization)
    load = engines.Load.measure(create(name), prepare)
    choice = engines.choose_engine("auto", load, many=many, device="cpu")
    assert f"{choice.engine} {choice.precision}" == expected
    with pytest.raises(ConfigurationError, match="device=cuda"):
        engines.choose_engine("auto", load, many=many, device="cuda")


def test_old_runtimes_can_load_the_file(exported: Exported) -> None:
    """ONNX Runtime before 1.26 has no product of float64 with a transposed matrix; Triton's may be years old."""
    import onnx

    model = onnx.load(exported.path)
    assert model.ir_version == 8
    makers = {output: node for node in model.graph.node for output in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert products
    for node in products:
        assert not [each for each in node.input if each in makers and makers[each].op_type == "Transpose"]
