"""A network as operations: the same numbers as the network's own, for every variant and for user-defined networks."""

import re
from collections.abc import Callable
from importlib.resources import files

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.explorer.evaluation import COMPUTE, evaluate, largest_difference
from lenext.explorer.packing import Pack
from lenext.explorer.tracing import trace
from lenext.foundation.errors import ConfigurationError
from lenext.models import create, find_variant
from tests.exporting.test_families import PUBLISHED, SMALL_IMAGES, TAUGHT, randomize_norms
from tests.models.contract import SIZES

NAMES = list(dict.fromkeys([*SMALL_IMAGES, *TAUGHT, *PUBLISHED, "lenet5_skip", "convnext_patch4", "airbench94"]))
FIRST = ["lenet", "lenet5_skip", "resnet18_32px", "convnext_patch4"]


def variant(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return a variant with norms as after a training, and the shape of its images."""
    torch.manual_seed(0)
    chosen = find_variant(name)
    size = SIZES.get(name, chosen.image_size)
    options = {"image_size": size} if "image_size" in chosen.parameters() else {}
    network = create(name, num_classes=10, **options).eval()
    randomize_norms(network)
    return network, (chosen.parameters()["in_channels"].default, size, size)


@pytest.mark.parametrize(
    "name", [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_every_variant_gives_its_own_answers(name: str) -> None:
    network, shape = variant(name)
    operations = trace(network, shape)
    assert largest_difference(operations, network, torch.randn(2, *shape)) < 1e-6
    assert all(step < position + 1 for position, each in enumerate(operations) for step in each.inputs)
    with torch.inference_mode():
        values = evaluate(operations, torch.randn(1, *shape))
    assert [tuple(value.shape[1:]) for value in values] == [each.shape for each in operations]


def test_channels_at_the_end_are_only_another_order() -> None:
    network, shape = variant("convnext_32px")
    kinds = {each.kind for each in trace(network, shape)}
    assert "permute" not in kinds
    assert "layer_norm" in kinds


class Function(nn.Module):
    """A network of a function, then a mean and a dense layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.function, self.dense = function, nn.Linear(channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.dense(self.function(images).mean((2, 3)))  # type: ignore[no-any-return]


def changed_in_place(images: Tensor) -> Tensor:
    """Return what is no longer the sum of ones."""
    images.relu_()
    return images.add(1)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "sum with a factor": (lambda x: torch.add(x, x.tanh(), alpha=0.5), 4),
    "difference": (lambda x: x - x.sigmoid(), 4),
    "number minus": (lambda x: 1 - x, 4),
    "product": (lambda x: x * F.adaptive_avg_pool2d(x, 1), 4),
    "quotient": (lambda x: x / 3, 4),
    "constants by channel": (lambda x: x * torch.arange(1.0, 5.0).view(4, 1, 1) + torch.ones(1, 4, 1, 1), 4),
    "concatenation": (lambda x: torch.cat([x, x.relu(), x[:, 1:3]], 1), 10),
    "parts": (lambda x: x.chunk(2, 1)[1] + x.split(2, -3)[0] + x.split([1, 2, 1], 1)[1], 2),
    "gate": (lambda x: x * x.mean((2, 3))[:, :, None, None].to(torch.float32), 4),
    "batch norm without weights": (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), 4),
    "whole layer norm": (lambda x: F.layer_norm(x, (4, 9, 9), torch.arange(324.0).view(4, 9, 9) / 324), 4),
    "rounded up means": (lambda x: F.avg_pool2d(x, 2, 2, 1, ceil_mode=True), 4),
    "padding": (lambda x: F.pad(x, (1, 2, 3, 0)), 4),
    "channels last": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), 4),
    "other order": (lambda x: F.conv2d(x.permute(0, 1, 3, 2), torch.arange(24.0).view(2, 4, 3, 1)), 2),
    "group norm": (lambda x: F.group_norm(x, 2, torch.arange(4.0), torch.ones(4)), 4),
    "in place": (lambda x: changed_in_place(x + 0), 4),
    "rounded up": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), 4),
    "uncounted padding": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), 4),
    "uneven windows": (lambda x: F.adaptive_avg_pool2d(x, (3, 5)) + F.adaptive_max_pool2d(x, (3, 5)), 4),
    "same padding": (lambda x: F.conv2d(x, torch.ones(2, 4, 3, 5), padding="same", dilation=1), 2),
    "dilation and groups": (lambda x: F.conv2d(x, torch.ones(4, 2, 3, 3), None, 2, 2, 2, groups=2), 4),
    "activations": (
        lambda x: F.leaky_relu(x, 0.2) + F.elu(x, 0.7) + F.silu(x) + F.hardswish(x) + F.gelu(x, approximate="tanh"), 4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_torch(name: str) -> None:
    function, channels = FUNCTIONS[name]
    torch.manual_seed(0)
    network = Function(function, channels).eval()
    assert largest_difference(trace(network, (4, 9, 9)), network, torch.randn(3, 4, 9, 9)) < 1e-6


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), stride=st.integers(1, 3), padding=st.integers(0, 2),
    dilation=st.integers(1, 2), groups=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_any_convolution(kernel: tuple[int, int], stride: int, padding: int, dilation: int, groups: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    assert largest_difference(trace(network, (4, 10, 9)), network, torch.randn(1, 4, 10, 9)) < 1e-6


class Odd(nn.Module):
    """A layer that does something to its input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda x: x.cumsum(2), "features.0 uses `cumsum`"),
        (lambda x: x.flip(3), "features.0 uses `flip`"),
        (lambda x: x + x.mean(1, keepdim=True), "features.0 uses `mean` over other axes"),
        (lambda x: torch.cat([x, x], 2), "features.0 uses `cat` along another axis"),
        (lambda x: F.layer_norm(x, (8,)), "features.0 uses layer norm over height or width"),
        (lambda x: x[:, :, ::2], "features.0 uses `slice` along another axis"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "features.0 uses `aten.div.Tensor_mode` in an unusual way"),
        (lambda x: torch.cat([x, torch.ones(1, 3, 8, 8)], 1)[:, :3], "features.0 uses `aten.cat.default` in an"),
        (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
    ],
)
def test_what_cannot_be_computed_is_named_with_its_layer(function: Callable[[Tensor], Tensor], problem: str) -> None:
    network = nn.Sequential()
    network.features = nn.Sequential(Odd(function), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigurationError, match=problem) as error:
        trace(network, (3, 8, 8))
    assert "lenext diagram" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_of_maps_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not return logits"):
        trace(nn.Conv2d(3, 2, 1), (3, 8, 8))


def test_every_kind_is_computed_by_torch_and_by_the_page() -> None:
    script = files("lenext.explorer").joinpath("page", "network.js").read_text(encoding="utf-8")
    table = script[script.index("const operations = {") : script.index("\n};", script.index("const operations = {"))]
    assert set(re.findall(r"^  (?:get )?(\w+)(?:\(\)|:|,)", table, re.MULTILINE)) == set(COMPUTE)
    functions = [(Function(*each).eval(), (4, 9, 9)) for each in FUNCTIONS.values()]
    networks = [variant(name) for name in ("lenet5_skip", "convnext_32px", "densenet_32px", "airbench94")]
    used = {each.kind for network, shape in [*networks, *functions] for each in trace(network, shape)}
    assert used | {"softmax"} == set(COMPUTE)


class Twice(nn.Module):
    """A layer that runs twice, and a counter that it leaves alone."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return (self.layer(self.layer(images)) + self.count + 1).mean((2, 3)).log_softmax(1)


def test_a_layer_that_runs_twice_has_its_weights_once() -> None:
    torch.manual_seed(0)
    network = Twice().eval()
    operations = trace(network, (3, 8, 8))
    assert largest_difference(operations, network, torch.randn(2, 3, 8, 8)) < 1e-6
    pack = Pack()
    entries = [pack.add_weights(each.tensors["weight"], "fp32") for each in operations if each.kind == "convolution"]
    assert entries == [0, 0]


def test_numbers_that_are_none_are_told() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    nn.init.constant_(network[1].weight, float("nan"))
    with pytest.raises(ValueError, match="no numbers"):
        largest_difference(trace(network, (3, 2, 2)), network, torch.randn(1, 3, 2, 2))
