"""DenseNet (Huang, Liu, van der Maaten & Weinberger 2016, arXiv:1608.06993): each layer sees what all before it made.

Parameter names and their order are torchvision's, so its weights load unmapped. `densenet_d2l` is D4's: four blocks of
four plain 3x3 layers, without bottlenecks.
"""

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lenext.models.blocks import (
    Activation,
    Norm,
    Pooling,
    activation_layer,
    initialize_kaiming,
    norm_layer,
    pooling_layer,
    scaled,
)
from lenext.models.variant import Variant


class DenseLayer(nn.Module):
    """Norm, ReLU, convolution; with a bottleneck, a 1x1 convolution to 4 x growth before the 3x3. (N, C, H, W) to
    (N, growth, H, W)."""

    def __init__(
        self,
        in_channels: int,
        growth: int,
        bottleneck: int = 4,
        bias: bool = False,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        inner = bottleneck * growth if bottleneck else in_channels
        self.norm1 = norm_layer(norm, in_channels)
        self.relu1 = activation_layer(activation, inplace=norm != "none")
        if bottleneck:
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
    """`depth` layers, each on all that is there so far. (N, C, H, W) to (N, C + depth x growth, H, W)."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        growth: int,
        bottleneck: int = 0,
        bias: bool = True,
        dropout: float = 0.0,
        skips: bool = True,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        for number in range(depth):
            seen = in_channels + number * growth if skips else (in_channels if number == 0 else growth)
            layer = DenseLayer(seen, growth, bottleneck, bias, dropout, activation, norm)
            self.add_module(f"denselayer{number + 1}", layer)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1) if self.skips else layer(x)
        return x


class Transition(nn.Sequential):
    """Norm, ReLU, 1x1 convolution, average pooling of 2. (N, C, H, W) to (N, out_channels, H/2, W/2)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
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
    """A stem, dense blocks with transitions between them, the average over positions. (N, C, H, W) to (N, K).

    depths: layers of each block. bottleneck: its factor, 0 for none. pooling: of the transitions. width: a factor of
    growth and stem. stem: `halving` is the paper's, to a quarter of the size; `keeping` is for small images.
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
        (growth,), (stem_width,) = scaled((growth,), width), scaled((stem_width,), width)
        bias = bias or norm == "none"
        kernel = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, stem_width, *kernel, bias=bias),
            norm0=norm_layer(norm, stem_width),
            relu0=activation_layer(activation, inplace=norm != "none"),
            pool0=nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, padding=1),
        )
        channels = stem_width
        for number, depth in enumerate(depths, 1):
            layers[f"denseblock{number}"] = DenseBlock(
                depth, channels, growth, bottleneck, bias, dropout, skips, activation, norm
            )
            channels = channels + depth * growth if skips else growth
            if number < len(depths):
                before, channels = channels, max(1, channels // 2)
                layers[f"transition{number}"] = Transition(before, channels, bias, activation, norm, pooling)
        layers["norm5"] = norm_layer(norm, channels)
        self.features = nn.Sequential(layers)
        self.relu = activation_layer(activation, inplace=norm != "none")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialize_kaiming(self)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.avgpool(self.relu(self.features(x)))  # from (N, channels, H/32, W/32)
        return self.classifier(x.flatten(1))


PAPER = "arXiv:1608.06993"
TAUGHT = partial(DenseNet, num_classes=10, depths=(4, 4, 4, 4), bottleneck=0, bias=True)
SMALL = partial(DenseNet, num_classes=10, depths=(6, 6, 6), growth=24, stem_width=48, stem="cifar")

VARIANTS = {
    "densenet121": Variant(DenseNet, 224, PAPER),
    "densenet161": Variant(partial(DenseNet, depths=(6, 12, 36, 24), growth=48, stem_width=96), 224, PAPER),
    "densenet169": Variant(partial(DenseNet, depths=(6, 12, 32, 32)), 224, PAPER),
    "densenet201": Variant(partial(DenseNet, depths=(6, 12, 48, 32)), 224, PAPER),
    "densenet_d2l": Variant(TAUGHT, 224, "D4", "as taught"),
    "densenet_32px": Variant(SMALL, 32, PAPER, "small images"),
}
