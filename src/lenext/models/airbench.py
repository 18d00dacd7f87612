"""Airbench (Jordan 2024, arXiv:2404.00498, after Page's ResNet of 2018 and hlb-CIFAR10): CIFAR-10 in the shortest time.

A fixed whitening layer, three blocks of two 3x3 convolutions, the largest value of each channel, one dense layer. There
are no skips: each convolution begins as the identity of its first channels instead, which does for six of them.
"""

from functools import partial

from torch import Tensor, nn

from lenext.models.blocks import (
    Activation,
    Norm,
    Whitening,
    activation_layer,
    initialize_identity,
    norm_layer,
    pooling_layer,
    scaled,
)
from lenext.models.variant import Variant


class AirbenchBlock(nn.Module):
    """Two convolutions; pooling comes right after the first, so that all else is done on a quarter of the positions.
    (N, C, H, W) to (N, out_channels, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = "gelu", norm: Norm = "batch"):
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.pool = pooling_layer("max", 2, 2)
        self.norm1 = norm_layer(norm, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.norm2 = norm_layer(norm, out_channels)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(x)))


class Airbench(nn.Module):
    """Whitening, three blocks, the maximum over positions, a dense layer. (N, C, H, W) to (N, K), any H and W from 9.

    whitening: whether the first layer is fixed; without, it is a convolution that learns. head_scale: of the logits.
    Optimizers that move every weight by the same length move the answers by so much less.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        widths: tuple[int, ...] = (64, 256, 256),
        width: float = 1.0,
        activation: Activation = "gelu",
        norm: Norm = "batch",
        whitening: bool = True,
        head_scale: float = 0.1,
    ) -> None:
        super().__init__()
        widths = scaled(widths, width)
        self.whiten = Whitening(in_channels) if whitening else nn.Conv2d(in_channels, 8 * in_channels, 2)
        self.activation = activation_layer(activation)
        before = (self.whiten.out_channels, *widths)
        block = partial(AirbenchBlock, activation=activation, norm=norm)
        self.blocks = nn.Sequential(*(block(one, other) for one, other in zip(before, widths, strict=False)))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        self.head_scale = head_scale
        initialize_identity(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.activation(self.whiten(x))  # (N, 24, 31, 31)
        x = self.pool(self.blocks(x)).flatten(1)  # (N, 256)
        return self.fc(x) * self.head_scale


VARIANTS = {"airbench94": Variant(Airbench, 32, "arXiv:2404.00498", "small images")}
