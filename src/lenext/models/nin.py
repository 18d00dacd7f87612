"""Network in Network (Lin, Chen & Yan 2013, arXiv:1312.4400): 1x1 convolutions as a small dense network at each pixel.

`nin` is the network of D4, whose last block gives the classes and ends in a ReLU, so that no logit is negative.
"""

from functools import partial

from torch import Tensor, nn

from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scale_widths
from lenext.models.variant import Variant


class NiNBlock(nn.Sequential):
    """A convolution and two of 1x1, each with its norm and activation. (N, C, H, W) to (N, out_channels, H', W')."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        layers: list[nn.Module] = []
        for kernel in ((kernel_size, stride, padding), (1, 1, 0), (1, 1, 0)):
            layers.append(nn.Conv2d(in_channels, out_channels, *kernel))
            if norm != "none":
                layers.append(norm_layer(norm, out_channels))
            layers.append(activation_layer(activation))
            in_channels = out_channels
        super().__init__(*layers)


class NiN(nn.Module):
    """Three blocks with poolings, a fourth whose channels are the classes, their mean. (N, C, H, W) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        widths: Channels of the first three blocks.
        width: Factor of the widths.
        stem: Kernel size, stride and padding of the first convolution.
        activation: Activation by name.
        norm: Norm of the first three blocks, by name.
        dropout: Dropout before the fourth block.
        last_activation: Whether the fourth block ends in its activation, as D4 has it; then no logit is negative.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        widths: tuple[int, ...] = (96, 256, 384),
        width: float = 1.0,
        stem: tuple[int, ...] = (11, 4, 0),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.5,
        last_activation: bool = True,
    ) -> None:
        super().__init__()
        first, second, third = scale_widths(widths, width)
        kernel_size, stride, padding = stem
        block = partial(NiNBlock, activation=activation)
        self.block1 = block(in_channels, first, kernel_size, stride=stride, padding=padding, norm=norm)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.block2 = block(first, second, 5, padding=2, norm=norm)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.block3 = block(second, third, 3, padding=1, norm=norm)
        self.pool3 = nn.MaxPool2d(3, 2)
        self.dropout = nn.Dropout(dropout)
        self.block4 = block(third, num_classes, 3, padding=1)
        if not last_activation:
            del self.block4[-1]
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 224, 224)
        x = self.pool1(self.block1(x))  # (N, 96, 26, 26)
        x = self.pool2(self.block2(x))  # (N, 256, 12, 12)
        x = self.pool3(self.block3(x))  # (N, 384, 5, 5)
        x = self.block4(self.dropout(x))  # (N, K, 5, 5)
        return self.avgpool(x).flatten(1)


PAPER = "arXiv:1312.4400"

nin_32px = partial(NiN, widths=(96, 192, 192), stem=(5, 1, 2), norm="batch", dropout=0.3, last_activation=False)

NAMES = {r"block(\d)\.0": r"mlpconv \1"}

VARIANTS = {
    "nin": Variant(NiN, 224, f"{PAPER}; D4", "as taught", paper_names=NAMES),
    "nin_32px": Variant(nin_32px, 32, PAPER, "small images", paper_names=NAMES),
}
