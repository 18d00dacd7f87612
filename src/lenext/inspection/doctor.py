"""Why a network cannot take images of a size, told before it costs anything."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.summary import blank_image, is_layer, watch_modules

LARGEST = 512  # px; the search for a size that works ends here


class UnfitError(ConfigurationError):
    """A network that fails on images of this shape: which layer, given what."""

    def __init__(self, shape: tuple[int, ...], layer: str, given: tuple[int, ...], reason: str) -> None:
        self.layer, self.given = layer, given
        at = f"layer {layer} is given {' x '.join(map(str, given))}: " if given else ""
        super().__init__(f"cannot take images of {' x '.join(map(str, shape))} ({at}{reason})")


class UntriableError(Exception):
    """A network that cannot be tried without weights."""


def check_network(network: nn.Module, input_shape: tuple[int, int, int], classes: int) -> None:
    """Try one blank image (C, H, W). Raises UnfitError, or ConfigurationError where the output is no (N, classes)."""
    inside: list[tuple[str, tuple[int, ...]]] = []

    def before(name: str, module: nn.Module, given: tuple[Any, ...], _: Any) -> None:
        if not is_layer(module):
            return
        shape = tuple(given[0].shape[1:]) if given and isinstance(given[0], Tensor) else ()
        inside.append((f"{name} ({type(module).__name__})", shape))

    def after(_: str, module: nn.Module, *__: Any) -> None:
        if is_layer(module):
            inside.pop()

    try:
        with torch.no_grad(), evaluation_mode(network), watch_modules(network, before, after):
            output = network(blank_image(network, input_shape))
    except Exception as error:
        layer, given = inside[-1] if inside else ("", ())
        raise UnfitError(input_shape, layer, given, " ".join(str(error).split())) from error
    if not isinstance(output, Tensor) or tuple(output.shape) != (1, classes):
        found = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ConfigurationError(f"gives {found} for one image; logits (1, {classes}) are needed for {classes} classes")


def build_without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on torch's meta device: it has shapes and no values, so even a large one costs no memory."""
    with torch.device("meta"):
        return build()


def needs_values(error: BaseException) -> bool:
    """Whether a network that was built without weights failed only because it reads values, as code may."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, NotImplementedError) or "meta" in str(error)


def smallest_size(build: Callable[[int], nn.Module], channels: int, classes: int, above: int) -> int | None:
    """Find the least image size above `above` that works, by trying networks without weights.

    Returns:
        The size, or None where none up to 512 px works, or where the network cannot be tried without weights.
    """

    def works(size: int) -> bool:
        try:
            check_network(build_without_weights(lambda: build(size)), (channels, size, size), classes)
        except (LenextError, RuntimeError, ValueError) as error:
            if needs_values(error):
                raise UntriableError from error
            return False
        return True

    low, high = above, max(above, 1)
    try:
        while not works(high):
            low, high = high, high * 2
            if high > LARGEST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle, high)
    except UntriableError:
        return None
    return high
