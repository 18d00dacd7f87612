"""Compare multiply-adds with torch's flop counter, and receptive fields with gradients."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lenext.foundation.errors import ConfigurationError
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.arithmetic import Arithmetic
from lenext.inspection.summary import summarize
from lenext.models import MODELS, create, find_variant

SMALL = [name for name in MODELS if find_variant(name).image_size <= 64]
FIRST = [
    "alexnet",
    "vgg11",
    "googlenet",
    "resnet18",
    "densenet121",
    "convnext_tiny",
    "nin",
    "alexnet_d2l",
    "densenet_d2l",
]


def build_network(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    variant = find_variant(name)
    return create(name), (variant.parameters()["in_channels"].default, variant.image_size, variant.image_size)


@pytest.mark.parametrize(
    "name", [name if name in SMALL + FIRST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_multiply_adds_are_half_of_torchs_flops(name: str) -> None:
    network, shape = build_network(name)
    summary = summarize(network, shape, name)
    with FlopCounterMode(display=False) as counter, evaluation_mode(network), torch.no_grad():
        network(torch.zeros(1, *shape))
    assert 2 * summary.multiply_adds == counter.get_total_flops()
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters
    for fold in (summary.blocks(), summary.stages()):
        assert sum(layer.parameters for layer in fold) == summary.parameters
        assert sum(layer.multiply_adds for layer in fold) == summary.multiply_adds
        assert fold[-1].output_shape[:1] == summary.output_shape  # but for a flattening at the end


@pytest.mark.parametrize(
    ("name", "convolutions", "dense"),
    [
        ("lenet", 2, 3), ("alexnet", 5, 3), ("vgg11", 8, 3), ("vgg19_bn", 16, 3), ("nin", 12, 0), ("googlenet", 21, 1),
        ("resnet18", 17, 1), ("resnet50", 49, 1), ("resnet152", 151, 1), ("densenet121", 120, 1),
    ],
)  # fmt: skip
def test_weighted_layers_are_what_networks_are_named_by(name: str, convolutions: int, dense: int) -> None:
    network, (channels, size, _) = build_network(name)
    size = size if name in ("lenet", "nin") else 64
    summary = summarize(network, (channels, size, size))
    assert (summary.convolutions, summary.dense) == (convolutions, dense)


def smooth(network: nn.Module) -> nn.Module:
    """Make every weight positive and remove every kink, so that each pixel in the field has a gradient."""
    for name, module in list(network.named_modules()):
        for key, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                padding = int(child.padding)  # type: ignore[arg-type]
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, padding))
            elif isinstance(child, nn.ReLU | nn.GELU | nn.BatchNorm2d):
                setattr(module, key, nn.Identity())
        assert name is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.01)
    return network.eval().double()


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("vgg11", "features.10", 64), ("resnet18", "layer2.1", 160), ("alexnet", "features.8", 224),
     ("nin", "block2", 224),
     ("densenet_d2l", "features.denseblock2", 160), ("lenet_32px", "conv2", 32), ("resnet50", "layer1.2", 96)],
)  # fmt: skip
def test_the_receptive_field_is_where_the_gradient_is(name: str, layer: str, size: int) -> None:
    network = smooth(create(name, in_channels=1))
    summary = summarize(network, (1, size, size))
    rows = [row for row in summary.layers if row.name == layer or row.name.startswith(f"{layer}.")]
    caught: list[torch.Tensor] = []
    dict(network.named_modules())[layer].register_forward_hook(lambda _, __, output: caught.append(output))
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    network(image)
    middle = caught[0].shape[2] // 2
    caught[0][0, :, middle, middle].sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    columns = image.grad[0, 0].abs().sum(0).nonzero()[:, 0]
    assert int(columns.max() - columns.min()) + 1 == max(row.receptive_field for row in rows)


def test_strides_and_fields_by_hand() -> None:
    layers = {layer.name: layer for layer in summarize(create("resnet18"), (3, 224, 224)).layers}
    assert [(layers[name].receptive_field, layers[name].stride) for name in ("conv1", "maxpool")] == [(7, 2), (11, 4)]
    assert layers["layer1.0.conv2"].receptive_field == 27


def test_training_memory_is_what_autograd_keeps() -> None:
    """A linear layer keeps its input, a ReLU its output, a dense layer after it nothing more."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    summary = summarize(network, (1, 8, 8))
    assert summary.training_bytes == (64 + 256) * 4
    assert summary.evaluation_bytes == 2 * 256 * 4


@pytest.mark.parametrize("size", [1, 7, 28, 33])
@pytest.mark.parametrize("kernel", [1, 2, 5])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 2, 2)])
def test_arithmetic_is_torchs(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    fits = dilation * (kernel - 1) + 1 <= size + 2 * padding
    if not fits:
        with pytest.raises(ConfigurationError, match=r"spans \d+ pixels.*use padding=\d+"):
            Arithmetic(size, kernel, stride, padding, dilation)
        return
    arithmetic = Arithmetic(size, kernel, stride, padding, dilation)
    layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation, bias=False)
    nn.init.ones_(layer.weight)
    image = torch.ones(1, 1, size, requires_grad=True)
    out = layer(image)
    assert arithmetic.output == out.shape[2]
    place = arithmetic.output - 1
    (gradient,) = torch.autograd.grad(out[0, 0, place], image)
    inside = [pixel for pixel in arithmetic.covered_pixels(place) if 0 <= pixel < size]
    assert gradient[0, 0].nonzero()[:, 0].tolist() == inside
    last = arithmetic.draw().splitlines()[-1].split()[-1]
    assert len(last) == size + 2 * padding
    assert last.count("#") == len(inside)


def test_impossible_arithmetic() -> None:
    for wrong in ({"size": 0}, {"stride": 0}, {"padding": -1}, {"dilation": 0}):
        with pytest.raises(ConfigurationError, match="must be at least"):
            Arithmetic(**({"size": 8, "kernel": 3} | wrong))
