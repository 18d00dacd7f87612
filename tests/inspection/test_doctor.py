"""The doctor needs only shapes: it draws no weights, and its results are the same as with weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lenext.foundation.errors import ConfigurationError
from lenext.inspection.doctor import build_without_weights, check_network, smallest_size
from lenext.inspection.summary import summarize
from lenext.models import MODELS, create, find_variant
from lenext.workflows.networks import diagram, summary

SIZES = (1, 2, 3, 5, 8, 12, 15, 16, 23, 28, 31, 32, 33, 47, 63, 64, 70)
SMALL = [name for name in MODELS if find_variant(name).image_size <= 64]
FIRST = ["alexnet", "googlenet", "resnet18", "densenet121", "convnext_tiny", "nin"]
NETWORKS = [name if name in SMALL + FIRST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]


def build(name: str, size: int) -> nn.Module:
    follows = {"image_size": size} if "image_size" in find_variant(name).parameters() else {}
    return create(name, in_channels=3, num_classes=10, **follows)


def outcome(make: Callable[[], nn.Module], size: int) -> str:
    """Return the result of a check as text."""
    try:
        check_network(make(), (3, size, size), 10)
    except (ConfigurationError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "fits"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_without_weights_answers_as_one_with_them(name: str) -> None:
    if "image_size" in find_variant(name).parameters():
        for size in SIZES:
            make = partial(build, name, size)
            assert outcome(partial(build_without_weights, make), size) == outcome(make, size)
    else:
        real, bare = build(name, 32), build_without_weights(partial(build, name, 32))
        for size in SIZES:
            assert outcome(lambda: bare, size) == outcome(lambda: real, size)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_summary_of_a_network_without_weights_is_the_same(name: str) -> None:
    size = find_variant(name).image_size
    bare = build_without_weights(partial(build, name, size))
    assert summarize(bare, (3, size, size), name) == summarize(build(name, size), (3, size, size), name)


def test_the_search_for_a_size_draws_no_weights() -> None:
    devices = set()

    def make(size: int) -> nn.Module:
        network = build("alexnet", size)
        devices.update(value.device.type for value in network.state_dict().values())
        return network

    assert smallest_size(make, 3, 10, above=2) == 63
    assert devices == {"meta"}


def test_a_summary_and_a_diagram_by_name_draw_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights are drawn")

    monkeypatch.setattr(torch.Tensor, "normal_", only_on_meta(torch.Tensor.normal_, refuse))
    monkeypatch.setattr(torch.Tensor, "uniform_", only_on_meta(torch.Tensor.uniform_, refuse))
    assert summary("vgg11").summary.parameters == 132_863_336
    assert "Conv" in diagram("resnet18").svg
    with pytest.raises(ConfigurationError, match=r"the smallest size above it that works is --image-size 32"):
        summary("vgg11", image_size=2)


def only_on_meta(drawn: Callable[..., Tensor], refuse: Callable[..., None]) -> Callable[..., Tensor]:
    def draw(self: Tensor, *args: object, **kwargs: object) -> Tensor:
        if not self.is_meta:
            refuse()
        return drawn(self, *args, **kwargs)

    return draw


NEEDS_VALUES = """
import torch
from torch import nn

class Bound(nn.Module):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, 4, {kernel})
        self.scale = {scale}
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.layer(x).amax((2, 3))
        return self.head(x * self.scale if {asked} else x)
"""


@pytest.mark.parametrize(
    ("scale", "asked"),
    [
        ("float(torch.ones(1).sum())", "True"),
        ("1.0", "x.sum().item() > 0"),
        ("torch.tensor([2.0], device='cpu')", "x.sum() > 0"),
    ],
)
def test_a_network_that_needs_values_gets_them(tmp_path: Path, scale: str, asked: str) -> None:
    """A network that reads its values cannot run without weights; it is built once, and no sizes are searched."""
    path = tmp_path / "mine.py"
    path.write_text(NEEDS_VALUES.format(kernel=5, scale=scale, asked=asked))
    assert summary(f"{path}:Bound", image_size=16).summary.output_shape == (10,)
    assert "Conv" in diagram(f"{path}:Bound", image_size=16).svg
    with pytest.raises(ConfigurationError, match=r"layer layer \(Conv2d\) is 3 x 2 x 2"):
        summary(f"{path}:Bound", image_size=2)


def test_a_network_of_a_file_is_told_its_least_size(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(NEEDS_VALUES.format(kernel=5, scale="1.0", asked="True"))
    with pytest.raises(ConfigurationError, match=r"the smallest size above it that works is --image-size 5"):
        summary(f"{path}:Bound", image_size=2)
