"""Placing a network on the device that computes it."""

from torch import nn

from lenext.acceleration.pooling import accelerate_pools
from lenext.foundation.device import Compute


def place_network(network: nn.Module, compute: Compute) -> nn.Module:
    """Move a network to a device, in its memory format, and give it the layers that are faster there.

    Args:
        network: Any network; it is changed in place.
        compute: The device and memory format.

    Returns:
        The same network.
    """
    network.to(compute.device)
    network.to(memory_format=compute.memory_format)  # type: ignore[call-overload]
    if compute.device.type == "cpu":
        accelerate_pools(network)
    return network
