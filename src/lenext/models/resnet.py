"""ResNet (He, Zhang, Ren & Sun 2015, arXiv:1512.03385): blocks that learn what to add to their input.

ResNeXt (Xie et al. 2016, arXiv:1611.05431) divides the 3x3 convolution of a block into groups; Wide ResNet (Zagoruyko &
Komodakis 2016, arXiv:1605.07146) widens it. Parameter names and their order are torchvision's, so its weights load
unmapped. `resnet18_d2l` is the network of D0 and D4.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scale_widths
from lenext.models.initialization import initialize_kaiming
from lenext.models.variant import Variant
from lenext.models.whitening import Whitening

Block = Callable[..., nn.Module]
"""From (in_channels, out_channels, stride, skip=, bias=, activation=, norm=) to a residual block."""


def convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution padded to keep the size at stride 1, without a bias where a norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)


def shortcut(in_channels: int, out_channels: int, stride: int, *, bias: bool, norm: Norm) -> nn.Module:
    """Return the identity where shapes agree, else a 1x1 convolution with a norm, or with a bias instead."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    if bias:
        return convolution(in_channels, out_channels, 1, stride, bias=True)
    return nn.Sequential(convolution(in_channels, out_channels, 1, stride), norm_layer(norm, out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. (N, C, H, W) to (N, out_channels, H/stride, W/stride).

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        skip: Whether there is a shortcut at all.
        bias: Whether convolutions have a bias, and the shortcut's has it instead of a norm, as in D0 and D4.
        activation: Activation by name.
        norm: Norm by name; with "none", give a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        skip: bool = True,
        bias: bool = False,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, 3, stride, bias=bias)
        self.bn1 = norm_layer(norm, out_channels)
        self.relu = activation_layer(activation)
        self.conv2 = convolution(out_channels, out_channels, 3, bias=bias)
        self.bn2 = norm_layer(norm, out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride, bias=bias, norm=norm) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y if self.downsample is None else y + self.downsample(x))


class Bottleneck(nn.Module):
    """Squeeze with 1x1, filter with 3x3, restore with 1x1, beside a shortcut.

    From (N, C, H, W) to (N, out_channels, H/stride, W/stride). The stride is in the 3x3 convolution, as torchvision's
    weights have it ("v1.5"), not in the first one as in the paper.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels of the output.
        stride: Stride of the 3x3 convolution and of the shortcut.
        expansion: Ratio of the output's channels to those of the 3x3 convolution.
        groups: Groups of the 3x3 convolution (ResNeXt).
        skip: Whether there is a shortcut at all.
        bias: Whether convolutions have a bias, and the shortcut's has it instead of a norm.
        activation: Activation by name.
        norm: Norm by name; with "none", give a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        expansion: int = 4,
        groups: int = 1,
        skip: bool = True,
        bias: bool = False,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        inner = out_channels // expansion
        self.conv1 = convolution(in_channels, inner, 1, bias=bias)
        self.bn1 = norm_layer(norm, inner)
        self.conv2 = convolution(inner, inner, 3, stride, groups=groups, bias=bias)
        self.bn2 = norm_layer(norm, inner)
        self.conv3 = convolution(inner, out_channels, 1, bias=bias)
        self.bn3 = norm_layer(norm, out_channels)
        self.relu = activation_layer(activation)
        self.downsample = shortcut(in_channels, out_channels, stride, bias=bias, norm=norm) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y if self.downsample is None else y + self.downsample(x))


def stage(block: Block, in_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    """Stack `depth` blocks; the first one changes channels and size."""
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(1, depth)))


class ResNet(nn.Module):
    """A stem, four stages of blocks, average pooling, one dense layer. (N, C, H, W) to (N, K), any H and W.

    Args:
        block: BasicBlock or Bottleneck, with its own choices bound.
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        depths: Blocks of each stage.
        widths: Channels of each stage.
        width: Factor of the widths and of the stem's 64 channels.
        stem: `imagenet` is the paper's, a 7x7 convolution of stride 2 and a max pooling, to a quarter of the size;
            `cifar` is a 3x3 convolution that keeps the size, for small images; `whitening` has a fixed layer fitted to
            the images before that.
        skips: Whether blocks have their shortcuts.
        bias: Whether convolutions have a bias although norms follow, as in D0 and D4.
        activation: Activation by name.
        norm: Norm by name; without one, convolutions have a bias.
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
        bias: bool = False,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(widths) != 4:
            raise ValueError(f"four stages are needed, not depths {depths} and widths {widths}")
        stem_width, *stage_widths = scale_widths((64, *widths), width)
        bias = bias or norm == "none"
        build = partial(block, skip=skips, bias=bias, activation=activation, norm=norm)
        kernel_size, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.whiten = Whitening(in_channels) if stem == "whitening" else None
        stem_channels = self.whiten.out_channels if self.whiten else in_channels
        self.conv1 = convolution(stem_channels, stem_width, kernel_size, stride, bias=bias)
        self.bn1 = norm_layer(norm, stem_width)
        self.relu = activation_layer(activation)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        self.layer1 = stage(build, stem_width, stage_widths[0], depths[0], 1)
        self.layer2 = stage(build, stage_widths[0], stage_widths[1], depths[1], 2)
        self.layer3 = stage(build, stage_widths[1], stage_widths[2], depths[2], 2)
        self.layer4 = stage(build, stage_widths[2], stage_widths[3], depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(stage_widths[3], num_classes)
        initialize_kaiming(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if self.whiten:
            x = self.relu(self.whiten(x))
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, widths[3], H/32, W/32)
        return self.fc(self.avgpool(x).flatten(1))


RESNET, RESNEXT, WIDE_RESNET = "arXiv:1512.03385", "arXiv:1611.05431", "arXiv:1605.07146"
DEPTHS_50, DEPTHS_101, DEPTHS_152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

basic = partial(ResNet, BasicBlock)
deep = partial(ResNet, Bottleneck, widths=(256, 512, 1024, 2048))
resnext_32x4d = partial(ResNet, partial(Bottleneck, expansion=2, groups=32), widths=(256, 512, 1024, 2048))
resnext_32x8d = partial(ResNet, partial(Bottleneck, expansion=1, groups=32), widths=(256, 512, 1024, 2048))
resnext_64x4d = partial(ResNet, partial(Bottleneck, expansion=1, groups=64), widths=(256, 512, 1024, 2048))
wide = partial(ResNet, partial(Bottleneck, expansion=2), widths=(256, 512, 1024, 2048))

resnet34 = partial(basic, depths=DEPTHS_50)
resnet50 = partial(deep, depths=DEPTHS_50)
resnet101 = partial(deep, depths=DEPTHS_101)
resnet152 = partial(deep, depths=DEPTHS_152)
resnext50_32x4d = partial(resnext_32x4d, depths=DEPTHS_50)
resnext101_32x8d = partial(resnext_32x8d, depths=DEPTHS_101)
resnext101_64x4d = partial(resnext_64x4d, depths=DEPTHS_101)
wide_resnet50_2 = partial(wide, depths=DEPTHS_50)
wide_resnet101_2 = partial(wide, depths=DEPTHS_101)
resnet18_d2l = partial(basic, bias=True, num_classes=10)
resnet18_32px = partial(basic, stem="cifar", num_classes=10)

NAMES = {"conv1": "conv1"} | {rf"layer{stage}\..*": f"conv{stage + 1}_x" for stage in range(1, 5)}  # table 1

VARIANTS = {
    "resnet18": Variant(basic, 224, RESNET, weights="resnet18-f37072fd", paper_names=NAMES),
    "resnet34": Variant(resnet34, 224, RESNET, weights="resnet34-b627a593", paper_names=NAMES),
    "resnet50": Variant(resnet50, 224, RESNET, weights="resnet50-0676ba61", paper_names=NAMES),
    "resnet101": Variant(resnet101, 224, RESNET, weights="resnet101-63fe2227", paper_names=NAMES),
    "resnet152": Variant(resnet152, 224, RESNET, weights="resnet152-394f9c45", paper_names=NAMES),
    "resnext50_32x4d": Variant(resnext50_32x4d, 224, RESNEXT, weights="resnext50_32x4d-7cdf4587", paper_names=NAMES),
    "resnext101_32x8d": Variant(resnext101_32x8d, 224, RESNEXT, weights="resnext101_32x8d-8ba56ff5", paper_names=NAMES),
    "resnext101_64x4d": Variant(
        resnext101_64x4d, 224, RESNEXT, weights="resnext101_64x4d-173b62eb", shorter_side=232, paper_names=NAMES
    ),
    "wide_resnet50_2": Variant(
        wide_resnet50_2, 224, WIDE_RESNET, weights="wide_resnet50_2-95faca4d", paper_names=NAMES
    ),
    "wide_resnet101_2": Variant(
        wide_resnet101_2, 224, WIDE_RESNET, weights="wide_resnet101_2-32ee1156", paper_names=NAMES
    ),
    "resnet18_d2l": Variant(resnet18_d2l, 224, f"{RESNET}; D0, D4", "as taught", paper_names=NAMES),
    "resnet18_32px": Variant(resnet18_32px, 32, RESNET, "small images", paper_names=NAMES),
}
