"""What the families share: activations and poolings by name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Pooling = Literal["max", "average"]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def activation_layer(name: Activation) -> nn.Module:
    """The activation of this name."""
    return ACTIVATIONS[name]()


def pooling_layer(name: Pooling, kernel_size: int, stride: int) -> nn.Module:
    """Max or average pooling without padding."""
    return POOLINGS[name](kernel_size, stride)
