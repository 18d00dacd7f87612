"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842): blocks of four parallel paths, and only 7 million parameters.

`googlenet` is torchvision's, with batch norm, 3x3 where the paper has 5x5, and its parameter names; `googlenet_paper`
is what D0 and D4 teach: no batch norm, 5x5. With `auxiliary`, two more classifiers sit within the network and help
training: `forward` gives the logits alone, `forward_with_auxiliary` all three.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scaled
from lenext.models.variant import Variant


class BasicConv2d(nn.Module):
    """A convolution, its norm where there is one, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        norm: Norm = "batch",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=norm == "none")
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if norm == "batch" else norm_layer(norm, out_channels)
        self.relu = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four paths side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5 (or 3x3); pooling then 1x1. (N, C, H, W) to
    (N, sum of the paths, H, W).

    widths: channels of the 1x1; of the 3x3 path; of the 5x5 path; of the pooled path.
    """

    def __init__(
        self,
        in_channels: int,
        one: int,
        three: tuple[int, int],
        five: tuple[int, int],
        pooled: int,
        *,
        kernel: int = 5,
        norm: Norm = "none",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        conv = partial(BasicConv2d, norm=norm, activation=activation)
        self.branch1 = conv(in_channels, one, 1)
        self.branch2 = nn.Sequential(conv(in_channels, three[0], 1), conv(three[0], three[1], 3, padding=1))
        self.branch3 = nn.Sequential(conv(in_channels, five[0], 1), conv(five[0], five[1], kernel, padding=kernel // 2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), conv(in_channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A small classifier on a feature map within the network. (N, C, H, W) to (N, K)."""

    def __init__(self, in_channels: int, num_classes: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, 1, norm=norm, activation=activation)
        self.relu = activation_layer(activation)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


Paths = tuple[int, tuple[int, int], tuple[int, int], int]

PATHS: dict[str, Paths] = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
"""Channels of each block's paths (table 1 of the paper)."""


class GoogLeNet(nn.Module):
    """A stem of convolutions, nine Inception blocks, the average over positions. (N, C, H, W) to (N, K).

    stem: `halving` is the paper's, to an eighth of the size; `keeping` is for small images, to a half.
    kernel: of the third path. padded_pooling: pad the poolings, as the documents do, rather than round up.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: float = 1.0,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        norm: Norm = "batch",
        activation: Activation = "relu",
        kernel: int = 3,
        padded_pooling: bool = False,
        dropout: float = 0.2,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(BasicConv2d, norm=norm, activation=activation)
        first, second = scaled((64, 192), width)

        def pool(size: int = 3) -> nn.Module:
            return nn.MaxPool2d(3, 2, padding=1) if padded_pooling else nn.MaxPool2d(size, 2, ceil_mode=True)

        small = stem == "cifar"
        self.conv1 = conv(in_channels, first, 3, 1, 1) if small else conv(in_channels, first, 7, 2, 3)
        self.maxpool1 = nn.Identity() if small else pool()
        self.conv2 = conv(first, first, 1)
        self.conv3 = conv(first, second, 3, padding=1)
        self.maxpool2 = pool()
        paths = {name: scale_paths(one, width) for name, one in PATHS.items()}
        out = {name: one + three[1] + five[1] + pooled for name, (one, three, five, pooled) in paths.items()}

        def block(name: str, before: int) -> Inception:
            return Inception(before, *paths[name], kernel=kernel, norm=norm, activation=activation)

        self.inception3a = block("3a", second)
        self.inception3b = block("3b", out["3a"])
        self.maxpool3 = pool()
        self.inception4a = block("4a", out["3b"])
        self.inception4b = block("4b", out["4a"])
        self.inception4c = block("4c", out["4b"])
        self.inception4d = block("4d", out["4c"])
        self.inception4e = block("4e", out["4d"])
        self.maxpool4 = pool(2)
        self.inception5a = block("5a", out["4e"])
        self.inception5b = block("5b", out["5a"])
        self.aux1 = InceptionAux(out["4a"], num_classes, norm, activation) if auxiliary else None
        self.aux2 = InceptionAux(out["4d"], num_classes, norm, activation) if auxiliary else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(out["5b"], num_classes)
        if norm != "none":
            initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_auxiliary(x)[0]

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits, and in training those of the auxiliary classifiers, where there are any."""
        x = self.maxpool1(self.conv1(x))  # (N, 64, H/4, W/4)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (N, 192, H/8, W/8)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))  # (N, 480, H/16, W/16)
        x = early = self.inception4a(x)
        x = late = self.inception4d(self.inception4c(self.inception4b(x)))
        x = self.maxpool4(self.inception4e(x))  # (N, 832, H/32, W/32)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, H/32, W/32)
        logits = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.aux1 is None or self.aux2 is None or not self.training:
            return (logits,)
        return logits, self.aux1(early), self.aux2(late)


def scale_paths(paths: Paths, factor: float) -> Paths:
    """The channels of a block's paths times a factor."""
    one, (three_in, three_out), (five_in, five_out), pooled = paths
    a, b, c, d, e, f = scaled((one, three_in, three_out, five_in, five_out, pooled), factor)
    return a, (b, c), (d, e), f


def initialize(network: nn.Module) -> None:
    """As torchvision draws it: a normal of deviation 0.01, cut off at 2."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)


PAPER = "arXiv:1409.4842"
TAUGHT = partial(GoogLeNet, num_classes=10, norm="none", kernel=5, padded_pooling=True, dropout=0.0)
SMALL = partial(GoogLeNet, num_classes=10, stem="cifar", width=0.5)

VARIANTS = {
    "googlenet": Variant(GoogLeNet, 224, PAPER),
    "googlenet_paper": Variant(TAUGHT, 96, f"{PAPER}; D0, D4", "as taught"),
    "googlenet_32px": Variant(SMALL, 32, PAPER, "small images"),
}
