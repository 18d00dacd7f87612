"""Check whether a network can take images of a size, before training starts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.modules import blank_image, is_layer, watch_modules

MAX_SEARCHED_PIXELS = 512  # the search for a size that works ends here


class UnfitError(ConfigurationError):
    """Raised for a network that fails on images of a shape.

    Attributes:
        layer: The layer that fails.
        layer_input: Shape of its input without N.
    """

    def __init__(self, shape: tuple[int, ...], layer: str, layer_input: tuple[int, ...], reason: str) -> None:
        self.layer, self.layer_input = layer, layer_input
        where = f"the input of layer {layer} is {' x '.join(map(str, layer_input))}: " if layer_input else ""
        super().__init__(f"cannot take images of {' x '.join(map(str, shape))} ({where}{reason})")


class NeedsWeightsError(Exception):
    """Raised for a network that cannot run without weights."""


def check_network(network: nn.Module, input_shape: tuple[int, int, int], classes: int) -> None:
    """Run a network on one blank image.

    Args:
        network: The network.
        input_shape: Shape (C, H, W) of the image.
        classes: Number of classes.

    Raises:
        UnfitError: A layer fails.
        ConfigurationError: The output is not of shape (1, classes).
    """
    open_layers: list[tuple[str, tuple[int, ...]]] = []

    def before(name: str, module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        if not is_layer(module):
            return
        shape = tuple(inputs[0].shape[1:]) if inputs and isinstance(inputs[0], Tensor) else ()
        open_layers.append((f"{name} ({type(module).__name__})", shape))

    def after(_: str, module: nn.Module, *__: Any) -> None:
        if is_layer(module):
            open_layers.pop()

    try:
        with torch.no_grad(), evaluation_mode(network), watch_modules(network.named_modules(), before, after):
            output = network(blank_image(network, input_shape))
    except Exception as error:
        layer, shape = open_layers[-1] if open_layers else ("", ())
        raise UnfitError(input_shape, layer, shape, " ".join(str(error).split())) from error
    if not isinstance(output, Tensor) or tuple(output.shape) != (1, classes):
        actual = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ConfigurationError(f"returns {actual} for one image; {classes} classes need logits (1, {classes})")


def build_without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on torch's meta device, where tensors have shapes but no values and take no memory."""
    with torch.device("meta"):
        return build()


def needs_values(error: BaseException) -> bool:
    """Return whether a network without weights failed only because its code reads values."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, NotImplementedError) or "meta" in str(error)


def smallest_size(build: Callable[[int], nn.Module], channels: int, classes: int, above: int) -> int | None:
    """Return the smallest image size above `above` that works, by running networks without weights.

    None if no size up to 512 px works, or if the network cannot run without weights.
    """

    def works(size: int) -> bool:
        try:
            check_network(build_without_weights(lambda: build(size)), (channels, size, size), classes)
        except (LenextError, RuntimeError, ValueError) as error:
            if needs_values(error):
                raise NeedsWeightsError from error
            return False
        return True

    low, high = above, max(above, 1)
    try:
        while not works(high):
            low, high = high, high * 2
            if high > MAX_SEARCHED_PIXELS:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle, high)
    except NeedsWeightsError:
        return None
    return high
