"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842): blocks of four parallel paths, and only 7 million parameters.

`googlenet` is torchvision's, with batch norm, 3x3 where the paper has 5x5, and its parameter names; `googlenet_paper`
is what D0 and D4 teach: no batch norm, 5x5. With `auxiliary`, two more classifiers sit within the network and help
training: `forward` returns the logits alone, `forward_with_auxiliary` all three.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.foundation.normalization import Normalization
from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scale_widths
from lenext.models.variant import Variant


class PathWidths(NamedTuple):
    """Channels along the four paths of an Inception block, in the order of table 1 of the paper."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_projection: int

    @property
    def out_channels(self) -> int:
        return self.conv1x1 + self.conv3x3 + self.conv5x5 + self.pool_projection


PATH_WIDTHS = {
    "3a": PathWidths(64, 96, 128, 16, 32, 32),
    "3b": PathWidths(128, 128, 192, 32, 96, 64),
    "4a": PathWidths(192, 96, 208, 16, 48, 64),
    "4b": PathWidths(160, 112, 224, 24, 64, 64),
    "4c": PathWidths(128, 128, 256, 24, 64, 64),
    "4d": PathWidths(112, 144, 288, 32, 64, 64),
    "4e": PathWidths(256, 160, 320, 32, 128, 128),
    "5a": PathWidths(256, 160, 320, 32, 128, 128),
    "5b": PathWidths(384, 192, 384, 48, 128, 128),
}
"""Channels of each Inception block (table 1 of the paper)."""


class BasicConv2d(nn.Module):
    """A convolution, its norm or a bias, ReLU. (N, C, H, W) to (N, out_channels, H', W')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
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
    """Four paths side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5; pooling then 1x1.

    From (N, C, H, W) to (N, widths.out_channels, H, W).

    Args:
        in_channels: Channels C of the input.
        widths: Channels along the paths.
        kernel_size: Kernel size of the third path: 5 as in the paper, or 3 as in torchvision's.
        norm: Norm by name.
        activation: Activation by name.
    """

    def __init__(
        self,
        in_channels: int,
        widths: PathWidths,
        *,
        kernel_size: int = 5,
        norm: Norm = "none",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        conv = partial(BasicConv2d, norm=norm, activation=activation)
        self.branch1 = conv(in_channels, widths.conv1x1, 1)
        self.branch2 = nn.Sequential(
            conv(in_channels, widths.reduce3x3, 1),
            conv(widths.reduce3x3, widths.conv3x3, 3, padding=1),
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, widths.reduce5x5, 1),
            conv(widths.reduce5x5, widths.conv5x5, kernel_size, padding=kernel_size // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, padding=1, ceil_mode=True),
            conv(in_channels, widths.pool_projection, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A small classifier on a feature map within the network. (N, C, H, W) to (N, K)."""

    def __init__(self, in_channels: int, num_classes: int, *, norm: Norm, activation: Activation) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, 1, norm=norm, activation=activation)
        self.relu = activation_layer(activation)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)  # (N, 2048)
        x = self.dropout(self.relu(self.fc1(x)))
        return self.fc2(x)


def pooling(padded: bool, kernel_size: int = 3) -> nn.MaxPool2d:
    """Return a max pooling that halves the size: padded, as the documents have it, or rounding up."""
    return nn.MaxPool2d(3, 2, padding=1) if padded else nn.MaxPool2d(kernel_size, 2, ceil_mode=True)


class GoogLeNet(nn.Module):
    """A stem of convolutions, nine Inception blocks, the mean over positions. (N, C, H, W) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        width: Factor of all channels.
        stem: `imagenet` is the paper's, to an eighth of the size; `cifar` is for small images, to a half.
        norm: Norm by name; without one, convolutions have a bias.
        activation: Activation by name.
        kernel_size: Kernel size of the blocks' third path.
        padded_pooling: Whether poolings are padded, as the documents have it, instead of rounding the size up.
        dropout: Dropout before the last dense layer.
        auxiliary: Whether there are two auxiliary classifiers.
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
        kernel_size: int = 3,
        padded_pooling: bool = False,
        dropout: float = 0.2,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(BasicConv2d, norm=norm, activation=activation)
        inception = partial(Inception, kernel_size=kernel_size, norm=norm, activation=activation)
        first, second = scale_widths((64, 192), width)
        widths = {name: PathWidths(*scale_widths(row, width)) for name, row in PATH_WIDTHS.items()}

        if stem == "imagenet":
            self.conv1 = conv(in_channels, first, 7, stride=2, padding=3)
            self.maxpool1: nn.Module = pooling(padded_pooling)
        else:
            self.conv1 = conv(in_channels, first, 3, padding=1)
            self.maxpool1 = nn.Identity()
        self.conv2 = conv(first, first, 1)
        self.conv3 = conv(first, second, 3, padding=1)
        self.maxpool2 = pooling(padded_pooling)

        self.inception3a = inception(second, widths["3a"])
        self.inception3b = inception(widths["3a"].out_channels, widths["3b"])
        self.maxpool3 = pooling(padded_pooling)

        self.inception4a = inception(widths["3b"].out_channels, widths["4a"])
        self.inception4b = inception(widths["4a"].out_channels, widths["4b"])
        self.inception4c = inception(widths["4b"].out_channels, widths["4c"])
        self.inception4d = inception(widths["4c"].out_channels, widths["4d"])
        self.inception4e = inception(widths["4d"].out_channels, widths["4e"])
        self.maxpool4 = pooling(padded_pooling, 2)

        self.inception5a = inception(widths["4e"].out_channels, widths["5a"])
        self.inception5b = inception(widths["5a"].out_channels, widths["5b"])

        classifier = partial(InceptionAux, num_classes=num_classes, norm=norm, activation=activation)
        self.aux1 = classifier(widths["4a"].out_channels) if auxiliary else None
        self.aux2 = classifier(widths["4d"].out_channels) if auxiliary else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths["5b"].out_channels, num_classes)
        if norm != "none":
            initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_auxiliary(x)[0]

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, and in training those of the auxiliary classifiers, where there are any."""
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


def initialize(network: nn.Module) -> None:
    """Draw weights as torchvision does: a normal of standard deviation 0.01, cut off at -2 and 2."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)


PAPER = "arXiv:1409.4842"
HALVES = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # its weights came from another framework

googlenet_paper = partial(
    GoogLeNet, num_classes=10, norm="none", kernel_size=5, padded_pooling=True, dropout=0.0
)  # fmt: skip
googlenet_32px = partial(GoogLeNet, num_classes=10, stem="cifar", width=0.5)

NAMES = {r"inception(\d)(\w)": r"\1\2"}  # table 1

VARIANTS = {
    "googlenet": Variant(GoogLeNet, 224, PAPER, weights="googlenet-1378be20", normalization=HALVES, paper_names=NAMES),
    "googlenet_paper": Variant(googlenet_paper, 96, f"{PAPER}; D0, D4", "as taught", paper_names=NAMES),
    "googlenet_32px": Variant(googlenet_32px, 32, PAPER, "small images", paper_names=NAMES),
}
