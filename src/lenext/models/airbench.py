"""Airbench (Jordan 2024, arXiv:2404.00498, after Page's ResNet of 2018 and hlb-CIFAR10): CIFAR-10 in the shortest time.

A fixed whitening layer, three blocks of two 3x3 convolutions, the maximum of each channel, one dense layer. There are
no skips: instead, each convolution begins as the identity of its first channels, which serves six layers as well.
"""

from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scale_widths
from lenext.models.initialization import initialize_identity
from lenext.models.variant import Variant
from lenext.models.whitening import Whitening


class AirbenchBlock(nn.Module):
    """Two 3x3 convolutions and a pooling. (N, C, H, W) to (N, out_channels, H/2, W/2).

    The pooling comes right after the first convolution, so that all else is computed at a quarter of the positions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, activation: Activation = "gelu", norm: Norm = "batch"
    ) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = norm_layer(norm, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.norm2 = norm_layer(norm, out_channels)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(x)))


class Airbench(nn.Module):
    """Whitening, three blocks, the maximum over positions, a dense layer. (N, C, H, W) to (N, K), any H and W from 9.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        widths: Channels of each block.
        width: Factor of the widths.
        activation: Activation by name.
        norm: Norm by name.
        whitening: Whether the first layer is fixed and fitted to the images; otherwise it is a convolution that learns.
        head_scale: Factor of the logits. Optimizers that move every weight by the same length move the logits by less.
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
        widths = scale_widths(widths, width)
        block = partial(AirbenchBlock, activation=activation, norm=norm)
        self.whiten = Whitening(in_channels) if whitening else nn.Conv2d(in_channels, 8 * in_channels, 2)
        self.activation = activation_layer(activation)
        channels = pairwise((self.whiten.out_channels, *widths))
        self.blocks = nn.Sequential(*(block(before, after) for before, after in channels))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        self.head_scale = head_scale
        initialize_identity(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.activation(self.whiten(x))  # (N, 24, 31, 31)
        x = self.pool(self.blocks(x)).flatten(1)  # (N, 256)
        return self.fc(x) * self.head_scale


VARIANTS = {"airbench94": Variant(Airbench, 32, "arXiv:2404.00498", "small images")}
