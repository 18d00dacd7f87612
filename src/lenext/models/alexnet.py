"""AlexNet (Krizhevsky, Sutskever & Hinton 2012): five convolutions and three dense layers, deep enough to need dropout.

`alexnet` is torchvision's, after "One weird trick" (arXiv:1404.5997), with its parameter names. `alexnet_d2l` (D4) and
`alexnet_d2l_wide` (D1) are the one-tower forms of the documents, `alexnet_32px` the same shape for small images.
"""

from functools import partial

from torch import Tensor, nn

from lenext.foundation.arithmetic import output_size
from lenext.models.blocks import Activation, Norm, activation_layer, norm_layer, scale_widths
from lenext.models.variant import Variant

Stem = tuple[int, int, int]
"""Kernel size, stride and padding of the first convolution."""


def features(
    in_channels: int, widths: tuple[int, ...], stem: Stem, activation: Activation, norm: Norm
) -> nn.Sequential:
    """Return the five convolutions with their three 3x3 max poolings of stride 2."""
    kernels = (stem, (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    layers: list[nn.Module] = []
    for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        layers.append(nn.Conv2d(in_channels, width, *kernel))
        if norm != "none":
            layers.append(norm_layer(norm, width))
        layers.append(activation_layer(activation))
        if index in (0, 1, 4):
            layers.append(nn.MaxPool2d(3, 2))
        in_channels = width
    return nn.Sequential(*layers)


class AlexNet(nn.Module):
    """The network as torchvision has it: dropout before the dense layers. (N, C, H, W) to (N, K), H and W from 63.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        width: Factor of the convolutions' channels.
        activation: Activation by name.
        norm: Norm by name.
        dropout: Dropout before each hidden dense layer.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: float = 1.0,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = scale_widths((64, 192, 384, 256, 256), width)
        self.features = features(in_channels, widths, (11, 4, 2), activation, norm)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(widths[-1] * 6 * 6, 4096),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            activation_layer(activation),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 224, 224)
        x = self.avgpool(self.features(x))  # (N, 256, 6, 6)
        return self.classifier(x.flatten(1))


class TaughtAlexNet(nn.Module):
    """The network as the documents have it: fixed image size, dropout after the dense layers. (N, C, H, H) to (N, K).

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes K.
        image_size: Pixels a side of the images, H, which the first dense layer depends on.
        widths: Channels of each convolution.
        width: Factor of the widths.
        stem: Kernel size, stride and padding of the first convolution.
        dense: Width of the hidden dense layers.
        activation: Activation by name.
        norm: Norm by name.
        dropout: Dropout after each hidden dense layer.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: int = 224,
        widths: tuple[int, ...] = (96, 256, 384, 384, 256),
        width: float = 1.0,
        stem: tuple[int, ...] = (11, 4, 1),
        dense: int = 4096,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = scale_widths(widths, width)
        kernel_size, stride, padding = stem
        side = output_size(image_size, kernel_size, stride, padding)
        for _ in range(3):
            side = output_size(side, 3, 2)
        side = max(side, 1)  # a network for too small an image can be built, and the doctor says where it fails
        self.features = features(in_channels, widths, (kernel_size, stride, padding), activation, norm)
        self.classifier = nn.Sequential(
            nn.Linear(widths[-1] * side**2, dense),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(dense, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, C, 224, 224)
        x = self.features(x)  # (N, 256, 5, 5)
        return self.classifier(x.flatten(1))


WIDE = (96, 256, 384, 384, 384)
NARROW = (64, 192, 384, 256, 256)

alexnet_d2l_wide = partial(TaughtAlexNet, in_channels=1, widths=WIDE, stem=(11, 4, 0), dropout=0.0)
alexnet_32px = partial(TaughtAlexNet, image_size=32, widths=NARROW, stem=(3, 1, 1), dense=512, norm="batch")

VARIANTS = {
    "alexnet": Variant(AlexNet, 224, "arXiv:1404.5997", weights="alexnet-owt-7be5be79"),
    "alexnet_d2l": Variant(TaughtAlexNet, 224, "D4", "as taught"),
    "alexnet_d2l_wide": Variant(alexnet_d2l_wide, 224, "D1", "as taught"),
    "alexnet_32px": Variant(alexnet_32px, 32, "Krizhevsky et al. 2012", "small images"),
}
