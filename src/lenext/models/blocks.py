"""Layers that three and more families share: activations, poolings and norms by name."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Pooling = Literal["max", "average"]
Norm = Literal["none", "batch", "layer", "group", "instance"]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def activation_layer(name: Activation, inplace: bool = False) -> nn.Module:
    """Return the activation of this name.

    Args:
        name: The activation.
        inplace: Whether a ReLU overwrites its input, which saves memory where nothing else needs that tensor.
    """
    return nn.ReLU(inplace=True) if inplace and name == "relu" else ACTIVATIONS[name]()


def pooling_layer(name: Pooling, kernel_size: int, stride: int, padding: int = 0) -> nn.Module:
    """Return max or average pooling."""
    return POOLINGS[name](kernel_size, stride, padding)


def norm_layer(name: Norm, channels: int) -> nn.Module:
    """Return a norm of feature maps (N, channels, H, W), with a scale and a shift for each channel.

    Args:
        name: `batch` normalizes each channel over the batch; `layer` each image, `group` each group of its channels
            (8, or the next smaller number that divides them), `instance` each of its channels; `none` does nothing.
        channels: Number of channels.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)
    if name == "group":
        return nn.GroupNorm(max(count for count in range(1, 9) if channels % count == 0), channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


def scale_widths(widths: Sequence[int], factor: float) -> tuple[int, ...]:
    """Multiply channel counts by a factor, keeping at least one channel each.

    Raises:
        ValueError: A width below 1 or a factor of 0 or less.
    """
    if min(widths) < 1 or factor <= 0:
        raise ValueError(f"widths {tuple(widths)} times {factor:g} must be at least 1")
    return tuple(max(1, round(width * factor)) for width in widths)
