"""ResNet (He, Zhang, Ren & Sun 2015, arXiv:1512.03385): blocks that learn what to add to their input.

Parameter names and their order are torchvision's, so its weights load unmapped.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from lenext.models.blocks import Activation, Norm, Whitening, activation_layer, initialize_kaiming, norm_layer, scaled
from lenext.models.variant import Variant

Block = Callable[..., nn.Module]
"""From (in_channels, out_channels, stride, skip=, activation=, norm=) to a residual block."""


def convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Padded to keep the size at stride 1; without bias where a norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)


def projection(in_channels: int, out_channels: int, stride: int, norm: Norm, taught: bool = False) -> nn.Module:
    """The shortcut: the input itself, or where shapes differ a 1x1 convolution of it, normed.

    taught: with a bias instead of the norm, as the documents have it.
    """
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    if taught or norm == "none":
        return convolution(in_channels, out_channels, 1, stride, bias=True)
    return nn.Sequential(convolution(in_channels, out_channels, 1, stride), norm_layer(norm, out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. (N, C, H, W) to (N, out_channels, H/stride, W/stride).

    taught: biased convolutions and a shortcut without norm, as in D0 and D4. skip: whether there is a shortcut at all.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        taught: bool = False,
        skip: bool = True,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        bias = taught or norm == "none"
        self.conv1 = convolution(in_channels, out_channels, 3, stride, bias=bias)
        self.bn1 = norm_layer(norm, out_channels)
        self.relu = activation_layer(activation)
        self.conv2 = convolution(out_channels, out_channels, 3, bias=bias)
        self.bn2 = norm_layer(norm, out_channels)
        self.downsample = projection(in_channels, out_channels, stride, norm, taught) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        learned = self.relu(self.bn1(self.conv1(x)))
        learned = self.bn2(self.conv2(learned))
        return self.relu(learned if self.downsample is None else learned + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 that narrow and widen again, beside a shortcut. (N, C, H, W) to
    (N, out_channels, H/stride, W/stride).

    narrowing: how many times narrower the inside is. groups: of the 3x3 convolution (ResNeXt).
    The stride is in the 3x3 convolution, as torchvision's weights have it, not in the first as in the paper.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        narrowing: int = 4,
        groups: int = 1,
        skip: bool = True,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        narrow, bias = out_channels // narrowing, norm == "none"
        self.conv1 = convolution(in_channels, narrow, 1, bias=bias)
        self.bn1 = norm_layer(norm, narrow)
        self.conv2 = convolution(narrow, narrow, 3, stride, groups, bias)
        self.bn2 = norm_layer(norm, narrow)
        self.conv3 = convolution(narrow, out_channels, 1, bias=bias)
        self.bn3 = norm_layer(norm, out_channels)
        self.relu = activation_layer(activation)
        self.downsample = projection(in_channels, out_channels, stride, norm) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        learned = self.relu(self.bn1(self.conv1(x)))
        learned = self.relu(self.bn2(self.conv2(learned)))
        learned = self.bn3(self.conv3(learned))
        return self.relu(learned if self.downsample is None else learned + self.downsample(x))


def stage(block: Block, in_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks; the first one changes channels and size."""
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(1, depth)))


class ResNet(nn.Module):
    """A stem, four stages of blocks, average pooling, one dense layer. (N, C, H, W) to (N, K), any H and W.

    stem: `halving` is the paper's, a 7x7 convolution of stride 2 and a max pooling, to a quarter of the size;
    `keeping` is a 3x3 convolution that keeps it, for small images; `whitening` has a fixed layer fitted to the
    images before that. taught: its convolution has a bias.
    skips: whether blocks have their shortcuts.
    """

    def __init__(
        self,
        block: Block,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        width: float = 1.0,
        stem: Literal["imagenet", "cifar", "whitening"] = "imagenet",
        skips: bool = True,
        taught: bool = False,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(widths) != 4:
            raise ValueError(f"four stages are needed, not depths {depths} and widths {widths}")
        widths, (first,) = scaled(widths, width), scaled((64,), width)
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        block = partial(block, skip=skips, activation=activation, norm=norm)
        self.whiten = Whitening(in_channels) if stem == "whitening" else None
        seen = self.whiten.out_channels if self.whiten else in_channels
        self.conv1 = convolution(seen, first, kernel, stride, bias=taught or norm == "none")
        self.bn1 = norm_layer(norm, first)
        self.relu = activation_layer(activation)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        self.layer1 = stage(block, first, widths[0], depths[0], 1)
        self.layer2 = stage(block, widths[0], widths[1], depths[1], 2)
        self.layer3 = stage(block, widths[1], widths[2], depths[2], 2)
        self.layer4 = stage(block, widths[2], widths[3], depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        initialize_kaiming(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if self.whiten:
            x = self.relu(self.whiten(x))
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, widths[3], H/32, W/32)
        return self.fc(self.avgpool(x).flatten(1))


PAPER, NEXT, WIDER = "arXiv:1512.03385", "arXiv:1611.05431", "arXiv:1605.07146"
WIDE = (256, 512, 1024, 2048)
D50, D101, D152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

resnet18 = partial(ResNet, BasicBlock)
deep = partial(ResNet, Bottleneck, widths=WIDE)
resnext = partial(Bottleneck, narrowing=2, groups=32)
resnext_8d = partial(Bottleneck, narrowing=1, groups=32)
resnext_64 = partial(Bottleneck, narrowing=1, groups=64)
wide = partial(Bottleneck, narrowing=2)
taught = partial(ResNet, partial(BasicBlock, taught=True), taught=True, num_classes=10)

VARIANTS = {
    "resnet18": Variant(resnet18, 224, PAPER),
    "resnet34": Variant(partial(resnet18, depths=D50), 224, PAPER),
    "resnet50": Variant(partial(deep, depths=D50), 224, PAPER),
    "resnet101": Variant(partial(deep, depths=D101), 224, PAPER),
    "resnet152": Variant(partial(deep, depths=D152), 224, PAPER),
    "resnext50_32x4d": Variant(partial(ResNet, resnext, widths=WIDE, depths=D50), 224, NEXT),
    "resnext101_32x8d": Variant(partial(ResNet, resnext_8d, widths=WIDE, depths=D101), 224, NEXT),
    "resnext101_64x4d": Variant(partial(ResNet, resnext_64, widths=WIDE, depths=D101), 224, NEXT),
    "wide_resnet50_2": Variant(partial(ResNet, wide, widths=WIDE, depths=D50), 224, WIDER),
    "wide_resnet101_2": Variant(partial(ResNet, wide, widths=WIDE, depths=D101), 224, WIDER),
    "resnet18_d2l": Variant(taught, 224, f"{PAPER}; D0, D4", "as taught"),
    "resnet18_32px": Variant(partial(resnet18, stem="cifar", num_classes=10), 32, PAPER, "small images"),
}
