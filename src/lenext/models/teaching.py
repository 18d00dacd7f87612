"""Networks that make a point in a lesson, which runs them as user-defined networks, FILE.py:Class."""

from typing import Literal

import torch
from torch import Tensor, nn

from lenext.models.lenet import LeNet


class SoftmaxLeNet(nn.Module):
    """LeNet that ends in a softmax, as D2's does: cross-entropy then takes the logarithm of a softmax twice."""

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10, image_size: int = 28) -> None:
        super().__init__()
        self.network = LeNet(in_channels=in_channels, num_classes=num_classes, image_size=image_size)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, H)
        return self.network(x).softmax(1)


class Mixed(nn.Module):
    """A convolution of one kernel size, or Inception's mix: a third of the channels by each.

    Shapes: (N, C, H, W) to (N, channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int, kernel: Literal["1", "3", "5", "mixed"]) -> None:
        super().__init__()
        sizes = (1, 3, 5) if kernel == "mixed" else (int(kernel),)
        share = channels // len(sizes)
        self.paths = nn.ModuleList(nn.Conv2d(in_channels, share, size, padding=size // 2) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([path(x) for path in self.paths], 1)


class Kernels(nn.Module):
    """Three stages of two convolutions with one kernel size, or with the mix; halved between them."""

    def __init__(
        self, *, in_channels: int = 1, num_classes: int = 10, kernel: Literal["1", "3", "5", "mixed"] = "3"
    ) -> None:
        super().__init__()
        kernel, layers, before = str(kernel), list[nn.Module](), in_channels  # type: ignore[assignment]
        for channels in (24, 48, 96):
            for _ in range(2):
                layers += [Mixed(before, channels, kernel), nn.BatchNorm2d(channels), nn.ReLU()]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))
