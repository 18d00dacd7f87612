"""The networks as the documents count and trace them (documents D0 to D4; see the README)."""

from typing import Any

import pytest
import torch
from torch import nn

from lenext.inspection.summary import summarize
from lenext.models import create
from lenext.models.convnext import Patch4Block
from lenext.models.densenet import DenseBlock, Transition
from lenext.models.googlenet import Inception, PathWidths
from lenext.models.lenet import DenseResidual
from lenext.models.resnet import BasicBlock

COUNTS: list[tuple[str, dict[str, Any], int]] = [
    ("lenet", {}, 61_706),
    ("lenet5", {}, 61_706),
    ("lenet5_skip", {}, 76_270),
    ("alexnet_d2l", {}, 46_787_978),
    ("alexnet_d2l_wide", {}, 60_314_442),
    ("alexnet_d2l_wide", {"num_classes": 1000}, 64_370_472),
    ("vgg11", {"num_classes": 10}, 128_807_306),
    ("vgg11", {"num_classes": 10, "in_channels": 1}, 128_806_154),
    ("vgg11_quarter", {}, 43_093_610),
    ("nin", {}, 2_015_398),
    ("nin", {"in_channels": 1}, 1_992_166),
    ("googlenet_paper", {}, 5_983_802),
    ("resnet18_d2l", {}, 11_184_650),
    ("resnet18_d2l", {"in_channels": 1}, 11_178_378),
    ("densenet_d2l", {}, 764_498),
    ("convnext_patch4", {}, 235_434),
    ("convnext_patch4_corrected", {}, 235_434),
]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "options", "count"), COUNTS, ids=lambda value: str(value))
def test_parameter_counts(name: str, options: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        assert parameters(create(name, **options)) == count


TRACES = [
    ("lenet5", 1, 32, "6x14 16x5 120x1 84 10"),
    ("alexnet_d2l", 3, 224, "96x54 96x26 256x26 256x12 384x12 384x12 256x12 256x5 4096 4096 10"),
    ("alexnet_d2l_wide", 1, 224, "96x54 96x26 256x26 256x12 384x12 384x12 384x12 384x5 4096 4096 10"),
    ("vgg11", 3, 224, "64x112 128x56 256x28 512x14 512x7 4096 4096 1000"),
    ("vgg11_quarter", 3, 224, "16x112 32x56 64x28 128x14 128x7 4096 4096 10"),
    ("nin", 3, 224, "96x54 96x26 256x26 256x12 384x12 384x5 10x5 10x1"),
    ("googlenet_paper", 3, 96, "64x24 192x12 480x6 832x3 1024x1 10"),
    ("resnet18_d2l", 3, 224, "64x56 64x56 128x28 256x14 512x7 512x1 10"),
    ("resnet18_d2l", 1, 28, "64x7 64x7 128x4 256x2 512x1 10"),
    ("densenet_d2l", 3, 224, "64x56 192x56 96x28 224x28 112x14 240x14 120x7 248x7 10"),
    ("convnext_patch4", 3, 32, "32x8 64x4 10x4 10x1"),
]


@pytest.mark.parametrize(("name", "channels", "size", "trace"), TRACES, ids=[f"{t[0]}-{t[1]}" for t in TRACES])
def test_shapes_come_in_the_documents_order(name: str, channels: int, size: int, trace: str) -> None:
    network = create(name, in_channels=channels)
    summary = summarize(network, (channels, size, size))
    assert any(
        is_subsequence(trace.split(), [format_shape(layer.output_shape) for layer in layers])
        for layers in (summary.layers, summary.blocks())
    )


def is_subsequence(expected: list[str], shapes: list[str]) -> bool:
    remaining = iter(shapes)
    return all(shape in remaining for shape in expected)


def format_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:2]))


def test_blocks_alone() -> None:
    inception = Inception(192, PathWidths(64, 96, 128, 16, 32, 32))
    assert parameters(inception) == 163_696
    assert inception(torch.zeros(1, 192, 28, 28)).shape == (1, 256, 28, 28)
    assert BasicBlock(3, 3)(torch.zeros(4, 3, 6, 6)).shape == (4, 3, 6, 6)
    assert BasicBlock(3, 6, 2, bias=True)(torch.zeros(4, 3, 6, 6)).shape == (4, 6, 3, 3)
    assert DenseBlock(2, 3, 10)(torch.zeros(4, 3, 8, 8)).shape == (4, 23, 8, 8)
    assert Transition(23, 10)(torch.zeros(4, 23, 8, 8)).shape == (4, 10, 4, 4)
    assert parameters(DenseResidual(120)) == 29_040
    assert DenseResidual(120)(torch.zeros(2, 120)).shape == (2, 120)
    assert parameters(Patch4Block(32)) == 6_400 + 4_128 + 1_056


def test_d3_as_written_depends_on_the_neighbours_and_the_corrected_one_does_not() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    images[1:] *= 5
    for name, independent in (("convnext_patch4", False), ("convnext_patch4_corrected", True)):
        network = create(name).eval()
        with torch.no_grad():
            assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5) is independent


def test_nin_as_taught_answers_without_negative_logits() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        assert float(create("nin").eval()(torch.randn(2, 3, 224, 224)).min()) >= 0
        assert float(create("nin_32px").eval()(torch.randn(8, 3, 32, 32)).min()) < 0
