"""Published weights, from a server on this machine with a state dict of torchvision's; users' files of weights."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import lenext
from lenext.data.image_files import ImageFiles
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import ConfigurationError, DownloadError, LenextError, RunError
from lenext.models import MODELS, create, find_variant, pretrained, resnet
from lenext.models.pretrained import (
    IMAGENET_PIXELS,
    find_head,
    freeze,
    imagenet_classes,
    modernize_key,
    read_state,
)
from lenext.models.variant import IMAGENET
from tests.conftest import Quiet
from tests.models.oracle import torchvision_models

Start = Callable[..., ThreadingHTTPServer]


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """torchvision's ResNet-18 with random weights."""
    torch.manual_seed(3)
    return torchvision_models().resnet18().eval()  # type: ignore[no-any-return]


@pytest.fixture
def served(https: Start, theirs: nn.Module, monkeypatch: pytest.MonkeyPatch) -> ThreadingHTTPServer:
    """Serves it under its published name, with its own hash in the name; then all addresses lead there."""
    buffer = io.BytesIO()
    torch.save(theirs.state_dict(), buffer)
    content = buffer.getvalue()

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.server.asked.append(self.path)  # type: ignore[attr-defined]
            body = b"x" * len(content) if self.server.spoiled else content  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.server.cut else body)  # type: ignore[attr-defined]

    server = https(Handler)
    server.spoiled = server.cut = False  # type: ignore[attr-defined]
    monkeypatch.setattr(pretrained, "ADDRESS", f"https://localhost:{server.server_port}/")
    weights = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}"
    monkeypatch.setitem(resnet.VARIANTS, "resnet18", replace(find_variant("resnet18"), weights=weights))
    return server


def test_published_weights_are_fetched_once_and_answer_as_theirs(
    served: ThreadingHTTPServer, theirs: nn.Module, tmp_path: Path
) -> None:
    images = torch.randn(2, 3, 64, 64)
    for offline in (False, True):
        network = create("resnet18", pretrained=True, data_dir=tmp_path, offline=offline).eval()
        with torch.no_grad():
            assert torch.allclose(network(images), theirs(images), atol=1e-5)
    assert len(served.asked) == 1  # type: ignore[attr-defined]


def test_other_classes_get_a_new_head_alone(served: ThreadingHTTPServer, theirs: nn.Module, tmp_path: Path) -> None:
    network = create("resnet18", pretrained=True, num_classes=5, data_dir=tmp_path)
    state, original = network.state_dict(), theirs.state_dict()
    assert state["fc.weight"].shape == (5, 512)
    assert all(torch.equal(state[key], original[key]) for key in state if not key.startswith("fc."))


def test_what_cannot_be_had_is_one_line(served: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="for 3 channels, not 1"):
        create("resnet18", pretrained=True, in_channels=1, data_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="has no published weights"):
        create("lenet", pretrained=True, data_dir=tmp_path)
    with pytest.raises(DownloadError, match="--offline"):
        create("resnet18", pretrained=True, data_dir=tmp_path, offline=True)
    served.cut = True  # type: ignore[attr-defined]
    with pytest.raises(DownloadError, match="cut off"):
        create("resnet18", pretrained=True, data_dir=tmp_path)
    served.cut, served.spoiled = False, True  # type: ignore[attr-defined]
    with pytest.raises(DownloadError, match="SHA-256 differs"):
        create("resnet18", pretrained=True, data_dir=tmp_path / "other")
    assert not list(tmp_path.rglob("*.pth"))


def test_fine_tuning_and_predicting(
    served: ThreadingHTTPServer, photos: Callable[..., Path], theirs: nn.Module, tmp_path: Path
) -> None:
    root = photos("up", "down")
    run = lenext.train(
        "resnet18", root, pretrained=True, freeze="backbone", image_size=48, epochs=2, batch_size=8, data_dir=tmp_path,
        runs_dir=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    tensors, description = lenext.runs.weights.load(run.weights("last"))
    original = theirs.state_dict()
    assert all(torch.equal(tensors[key], original[key]) for key in original if not key.startswith("fc."))
    assert description.preprocessing.normalization == IMAGENET
    assert len(lenext.predict(run, root / "up")) == 10
    assert len(lenext.val(run, quiet=True).labels) == 2
    predictions = lenext.predict(
        "resnet18", root / "up" / "00.png", pretrained=True, top=5, data_dir=tmp_path, offline=True
    )
    assert not isinstance(predictions[0], LenextError)
    assert set(predictions[0].classes) <= set(imagenet_classes())


def test_grey_images_are_repeated_and_the_log_says_so(served: ThreadingHTTPServer, tmp_path: Path) -> None:
    for name in ("a1", "b1"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((40, 40), 20 * number + (100 if name == "b1" else 0), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "grey" / name / f"{number}.png")
    run = lenext.train(
        "resnet18", tmp_path / "grey", pretrained=True, image_size=40, epochs=1, data_dir=tmp_path,
        runs_dir=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    assert "repeated to three channels" in (run.path / "train.log").read_text()
    assert len(lenext.predict(run, tmp_path / "grey")) == 16
    with pytest.raises(ConfigurationError, match="in_channels is set by the data"):
        lenext.train("resnet18", tmp_path / "grey", pretrained=True, options={"in_channels": 1}, quiet=True)
    for wrong in ({"scaling": "unit"}, {"initialization": "xavier"}):
        with pytest.raises(ConfigurationError):
            lenext.train("resnet18", tmp_path / "grey", pretrained=True, data_dir=tmp_path, quiet=True, **wrong)  # type: ignore[arg-type]


def test_users_files_of_weights(theirs: nn.Module, tmp_path: Path) -> None:
    state = theirs.state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "a.pt")
    safetensors.torch.save_file(state, tmp_path / "b.safetensors")
    for name in ("a.pt", "b.safetensors"):
        loaded = create("resnet18", pretrained=tmp_path / name).state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state)
    with pytest.raises(RunError, match="is it that network"):
        create("resnet34", pretrained=tmp_path / "a.pt")
    with pytest.raises(RunError, match="channels and options must agree"):
        create("resnet18", pretrained=tmp_path / "a.pt", in_channels=1)


class Gadget:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, ("here",)


def test_a_file_that_wants_to_run_something_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": Gadget()}, tmp_path / "bad.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"rubbish")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("bad.pt", "rubbish.pt", "list.pt", "missing.pt"):
        with pytest.raises(RunError) as caught:
            read_state(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_densenets_names_of_long_ago() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    assert modernize_key(old) == "features.denseblock1.denselayer1.norm1.weight"
    assert modernize_key("module.fc.weight") == "fc.weight"


def test_googlenets_published_weights_carry_heads_and_fit_with_and_without(tmp_path: Path) -> None:
    theirs = torchvision_models().googlenet(aux_logits=True, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "g.pth")
    with_heads = create("googlenet", auxiliary=True, pretrained=tmp_path / "g.pth").state_dict()
    assert torch.equal(with_heads["aux2.fc1.weight"], theirs.state_dict()["aux2.fc1.weight"])
    assert "aux1.fc1.weight" not in create("googlenet", pretrained=tmp_path / "g.pth").state_dict()
    seven_classes = create("googlenet", auxiliary=True, num_classes=7, pretrained=tmp_path / "g.pth")
    assert seven_classes.state_dict()["aux1.fc2.weight"].shape == (7, 1024)
    assert find_variant("googlenet").normalization.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", [name for name in MODELS if find_variant(name).weights])
def test_addresses_are_torchvisions(name: str) -> None:
    assert find_variant(name).kind == "as published"
    url = torchvision_models().get_model_weights(name).IMAGENET1K_V1.url
    assert pretrained.published_file(find_variant(name).weights).urls == (url,)


def test_imagenets_names() -> None:
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    assert list(imagenet_classes()) == _IMAGENET_CATEGORIES


def test_freezing_by_stage() -> None:
    network = create("resnet18_32px")
    frozen = freeze(network, ["conv1", "layer1"])
    assert all(name.startswith(("conv1.", "layer1.")) for name in frozen)
    assert {name for name, one in network.named_parameters() if not one.requires_grad} == set(frozen)
    freeze(network, ["backbone"])
    assert {name for name, one in network.named_parameters() if one.requires_grad} == {"fc.weight", "fc.bias"}
    with pytest.raises(ConfigurationError, match="did you mean 'layer1'"):
        freeze(network, ["layer_1"])


@pytest.mark.parametrize(
    ("name", "head"),
    [("alexnet", "classifier.6"), ("googlenet", "fc"), ("convnext_tiny", "classifier.2"), ("nin", "block4.4")],
)
def test_the_head_is_what_gives_the_classes(name: str, head: str) -> None:
    with torch.device("meta"):
        assert find_head(create(name)) == head


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "convnext_tiny", "resnext101_64x4d"])
def test_a_photograph_is_prepared_as_the_weights_expect(name: str, tmp_path: Path) -> None:
    """The oracle is the transform that torchvision publishes with the weights; of a square image, as it rounds the
    sides of others to whole pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((300, 300), Image.Resampling.BICUBIC)
    image.save(tmp_path / "p.png")
    side, size = find_variant(name).shorter_side, (IMAGENET_PIXELS, IMAGENET_PIXELS)
    stored = ImageFiles([str(tmp_path / "p.png")], 3, (side, side), "crop")[torch.arange(1)]
    ours = Preprocessing(3, (side, side), "crop", size, "crop", find_variant(name).normalization)(stored)
    weights = torchvision_models().get_model_weights(name).IMAGENET1K_V1
    theirs = weights.transforms()(image)[None]
    if name == "googlenet":  # whose transform in torchvision hides a second one in its forward
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        theirs = ((theirs * std.view(-1, 1, 1) + mean.view(-1, 1, 1)) - 0.5) / 0.5
    assert (ours - theirs).abs().mean() < 0.02
    assert (ours - theirs).abs().max() < 0.2
