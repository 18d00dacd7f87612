"""DenseNet (Huang, Liu, van der Maaten & Weinberger 2016, arXiv:1608.06993): each layer sees all outputs before it.

Parameter names and their order are torchvision's, so its weights load but for a renaming of old
files. `densenet_d2l` is course document D4's: four blocks of four plain 3x3 layers, without bottlenecks.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lenext.models.blocks import (
    Activation,
    Norm,
    Pooling,
    activation_layer,
    norm_layer,
    pooling_layer,
    scale_widths,
)
from lenext.models.initialization import initialize_kaiming
from lenext.models.variant import Variant


class DenseLayer(nn.Module):
    """Norm, ReLU, 3x3 convolution; with a bottleneck, a 1x1 convolution before. (N, C, H, W) to (N, growth, H, W).

    Args:
        in_channels: Channels C of the input.
        growth: Channels of the output.
        bottleneck: Channels between the 1x1 and the 3x3 convolution, as a multiple of growth; 0 for no 1x1 convolution.
        bias: Whether convolutions have a bias.
        dropout: Dropout of the output.
        activation: Activation by name.
        norm: Norm by name; with "none", give a bias.
    """

    def __init__(
        self,
        in_channels: int,
        growth: int,
        *,
        bottleneck: int = 4,
        bias: bool = False,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, in_channels)
        self.relu1 = activation_layer(activation, inplace=norm != "none")
        if bottleneck:
            inner = bottleneck * growth
            self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=bias)
            self.norm2 = norm_layer(norm, inner)
            self.relu2 = activation_layer(activation, inplace=norm != "none")
            self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=bias)
        else:
            self.conv1 = nn.Conv2d(in_channels, growth, 3, padding=1, bias=bias)
        self.bottleneck = bool(bottleneck)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(x)))
        if self.bottleneck:
            x = self.conv2(self.relu2(self.norm2(x)))
        return self.dropout(x)


class DenseBlock(nn.Module):
    """Layers that each take all channels made so far.

    (N, C, H, W) to (N, C + depth x growth, H, W); without skips to (N, growth, H, W).

    Args:
        depth: Number of layers.
        in_channels: Channels C of the input.
        growth: Channels that each layer adds.
        layer: From (in_channels, growth) to a layer: DenseLayer, with its choices bound.
        skips: Whether layers take all channels so far, or only the output of the layer before.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int,
        growth: int,
        *,
        layer: Callable[[int, int], nn.Module] = DenseLayer,
        skips: bool = True,
    ) -> None:
        super().__init__()
        channels = in_channels
        for number in range(1, depth + 1):
            self.add_module(f"denselayer{number}", layer(channels, growth))
            channels = channels + growth if skips else growth
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1) if self.skips else layer(x)
        return x


class Transition(nn.Sequential):
    """Norm, ReLU, 1x1 convolution, 2x2 pooling. (N, C, H, W) to (N, out_channels, H/2, W/2)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = False,
        activation: Activation = "relu",
        norm: Norm = "batch",
        pooling: Pooling = "average",
    ) -> None:
        super().__init__(
            OrderedDict(
                norm=norm_layer(norm, in_channels),
                relu=activation_layer(activation, inplace=norm != "none"),
                conv=nn.Conv2d(in_channels, out_channels, 1, bias=bias),
                pool=pooling_layer(pooling, 2, 2),
            )
        )


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, a norm, the mean over positions and a dense layer.

    (N, C, H, W) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        depths: Layers of each block.
        growth: Channels that each layer adds.
        stem_width: Channels of the stem.
        bottleneck: Channels between the two convolutions of a layer, as a multiple of growth; 0 for plain 3x3 layers.
        bias: Whether convolutions have a bias although norms follow them.
        stem: `imagenet` is the paper's, to a quarter of the size; `cifar` keeps the size, for small images.
        skips: Whether layers take all channels so far, or only the output of the layer before.
        dropout: Dropout of each layer's output.
        activation: Activation by name.
        norm: Norm by name; without one, convolutions have a bias.
        pooling: Pooling of the transitions.
        width: Factor of growth and stem_width.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: tuple[int, ...] = (6, 12, 24, 16),
        growth: int = 32,
        stem_width: int = 64,
        bottleneck: int = 4,
        bias: bool = False,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        skips: bool = True,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm: Norm = "batch",
        pooling: Pooling = "average",
        width: float = 1.0,
    ) -> None:
        super().__init__()
        growth, stem_width = scale_widths((growth, stem_width), width)
        bias = bias or norm == "none"
        layer = partial(DenseLayer, bottleneck=bottleneck, bias=bias, dropout=dropout, activation=activation, norm=norm)
        transition = partial(Transition, bias=bias, activation=activation, norm=norm, pooling=pooling)

        kernel_size, stride, padding = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, stem_width, kernel_size, stride, padding, bias=bias),
            norm0=norm_layer(norm, stem_width),
            relu0=activation_layer(activation, inplace=norm != "none"),
            pool0=nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, padding=1),
        )
        channels = stem_width
        for number, depth in enumerate(depths, 1):
            layers[f"denseblock{number}"] = DenseBlock(depth, channels, growth, layer=layer, skips=skips)
            channels = channels + depth * growth if skips else growth
            if number < len(depths):
                halved = max(1, channels // 2)
                layers[f"transition{number}"] = transition(channels, halved)
                channels = halved
        layers["norm5"] = norm_layer(norm, channels)
        self.features = nn.Sequential(layers)
        self.relu = activation_layer(activation, inplace=norm != "none")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialize_kaiming(self)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.avgpool(self.relu(self.features(x)))  # from (N, channels, H/32, W/32) with the paper's stem
        return self.classifier(x.flatten(1))


PAPER = "arXiv:1608.06993"

densenet161 = partial(DenseNet, depths=(6, 12, 36, 24), growth=48, stem_width=96)
densenet169 = partial(DenseNet, depths=(6, 12, 32, 32))
densenet201 = partial(DenseNet, depths=(6, 12, 48, 32))
densenet_d2l = partial(DenseNet, num_classes=10, depths=(4, 4, 4, 4), bottleneck=0, bias=True)
densenet_32px = partial(DenseNet, num_classes=10, depths=(6, 6, 6), growth=24, stem_width=48, stem="cifar")

NAMES = {r"features\.denseblock(\d)": r"block (\1)", r"features\.transition(\d)\..*": r"transition (\1)"}  # table 1

VARIANTS = {
    "densenet121": Variant(DenseNet, 224, PAPER, weights="densenet121-a639ec97", paper_names=NAMES),
    "densenet161": Variant(densenet161, 224, PAPER, weights="densenet161-8d451a50", paper_names=NAMES),
    "densenet169": Variant(densenet169, 224, PAPER, weights="densenet169-b2777c0a", paper_names=NAMES),
    "densenet201": Variant(densenet201, 224, PAPER, weights="densenet201-c1103571", paper_names=NAMES),
    "densenet_d2l": Variant(densenet_d2l, 224, "D4", "as taught", paper_names=NAMES),
    "densenet_32px": Variant(densenet_32px, 32, PAPER, "small images", paper_names=NAMES),
}
