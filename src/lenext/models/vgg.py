"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556): stacks of 3x3 convolutions, each stack halving the image.

Parameter names and their order are torchvision's, so its weights load unmapped. With ten classes `vgg11` is the network
that D1 and D4 teach; `vgg11_quarter` is D4's with a quarter of the channels and the same dense layers.
"""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from torch import Tensor, nn

from lenext.models.blocks import Activation, Norm, Pooling, activation_layer, norm_layer, pooling_layer, scale_widths
from lenext.models.initialization import initialize_kaiming
from lenext.models.variant import Variant


def stack(in_channels: int, out_channels: int, depth: int, activation: Activation, norm: Norm) -> Iterator[nn.Module]:
    """Yield the layers of `depth` 3x3 convolutions that keep the size, each with its norm and activation."""
    for _ in range(depth):
        yield nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if norm != "none":
            yield norm_layer(norm, out_channels)
        yield activation_layer(activation)
        in_channels = out_channels


class VGG(nn.Module):
    """Five stacks and three dense layers. (N, C, H, W) to (N, K).

    Args:
        depths: Convolutions of each stack.
        widths: Channels of each stack.
        width: Factor of the widths.
        head: `dense` is the paper's, five halvings, then 7 x 7 positions into dense layers of 4,096; `average` is for
            small images: four halvings, the mean over positions, one dense layer.
        activation: Activation by name.
        pooling: Pooling after each stack.
        norm: Norm by name.
        dropout: Dropout after each hidden dense layer, or before the only dense layer.
        in_channels: Channels of the images.
        num_classes: Number of classes K.
    """

    def __init__(
        self,
        *,
        depths: tuple[int, ...] = (1, 1, 2, 2, 2),
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        width: float = 1.0,
        head: Literal["dense", "average"] = "dense",
        activation: Activation = "relu",
        pooling: Pooling = "max",
        norm: Norm = "none",
        dropout: float = 0.5,
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        widths = scale_widths(widths, width)
        layers: list[nn.Module] = []
        for number, (out_channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
            layers += stack(in_channels, out_channels, depth, activation, norm)
            if head == "dense" or number < len(widths):
                layers.append(pooling_layer(pooling, 2, 2))
            in_channels = out_channels
        self.features = nn.Sequential(*layers)
        if head == "average":
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(in_channels, num_classes))
        else:
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(in_channels * 7 * 7, 4096),
                activation_layer(activation),
                nn.Dropout(dropout),
                nn.Linear(4096, 4096),
                activation_layer(activation),
                nn.Dropout(dropout),
                nn.Linear(4096, num_classes),
            )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 224, 224)
        x = self.avgpool(self.features(x))  # (N, 512, 7, 7)
        return self.classifier(x.flatten(1))


def initialize(network: nn.Module) -> None:
    """Draw weights as torchvision does: He et al.'s normal for convolutions, a deviation of 0.01 for dense layers."""
    initialize_kaiming(network)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)


PAPER = "arXiv:1409.1556"

vgg11 = partial(VGG, depths=(1, 1, 2, 2, 2))
vgg13 = partial(VGG, depths=(2, 2, 2, 2, 2))
vgg16 = partial(VGG, depths=(2, 2, 3, 3, 3))
vgg19 = partial(VGG, depths=(2, 2, 4, 4, 4))
vgg11_quarter = partial(VGG, width=0.25, num_classes=10)
vgg11_32px = partial(VGG, head="average", norm="batch", dropout=0.2, num_classes=10)

VARIANTS = {
    "vgg11": Variant(vgg11, 224, PAPER, weights="vgg11-8a719046"),
    "vgg13": Variant(vgg13, 224, PAPER, weights="vgg13-19584684"),
    "vgg16": Variant(vgg16, 224, PAPER, weights="vgg16-397923af"),
    "vgg19": Variant(vgg19, 224, PAPER, weights="vgg19-dcbb9e9d"),
    "vgg11_bn": Variant(partial(vgg11, norm="batch"), 224, PAPER, weights="vgg11_bn-6002323d"),
    "vgg13_bn": Variant(partial(vgg13, norm="batch"), 224, PAPER, weights="vgg13_bn-abd245e5"),
    "vgg16_bn": Variant(partial(vgg16, norm="batch"), 224, PAPER, weights="vgg16_bn-6c64b313"),
    "vgg19_bn": Variant(partial(vgg19, norm="batch"), 224, PAPER, weights="vgg19_bn-c79401a0"),
    "vgg11_quarter": Variant(vgg11_quarter, 224, "D4", "as taught"),
    "vgg11_32px": Variant(vgg11_32px, 32, PAPER, "small images"),
}
