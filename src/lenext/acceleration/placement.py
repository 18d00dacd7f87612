"""Placing a network on the device that computes it."""

from torch import nn

from lenext.acceleration.depthwise import Conv2d, accelerate_depthwise
from lenext.acceleration.pooling import MaxPool2d, accelerate_pools
from lenext.foundation.device import Compute

FAST: dict[type[nn.Module], type[nn.Module]] = {Conv2d: nn.Conv2d, MaxPool2d: nn.MaxPool2d}
"""The layers with a faster path, and torch's own."""


def place_network(network: nn.Module, compute: Compute, *, fast_layers: bool = True) -> nn.Module:
    """Move a network to a device, in its memory format, and give it the layers that are faster there.

    Args:
        network: Any network; it is changed in place.
        compute: The device and memory format.
        fast_layers: Whether layers that have a faster path get it, or lose it.

    Returns:
        The same network.
    """
    network.to(compute.device)
    network.to(memory_format=compute.memory_format)  # type: ignore[call-overload]
    if compute.device.type == "cpu" and fast_layers:
        accelerate_pools(network)
        accelerate_depthwise(network)
    if not fast_layers:
        for module in network.modules():
            if type(module) in FAST:
                module.__class__ = FAST[type(module)]
    return network
