"""What each tensor of a forward pass has seen: its receptive field, its stride, how many weighted layers lie behind it.

Every function that torch calls is watched, so additions and concatenations outside of layers are followed too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = ("conv2d", "conv1d")
POOLINGS = ("max_pool2d", "_max_pool2d", "max_pool2d_with_indices", "avg_pool2d")


@dataclass(frozen=True)
class Seen:
    """receptive_field: pixels a side of the picture that one value depends on; stride: pixels between neighbours.

    convolutions, dense: weighted layers on the longest way here. Norms over a whole picture are left out of the field.
    """

    receptive_field: int = 1
    stride: int = 1
    convolutions: int = 0
    dense: int = 0

    @property
    def depth(self) -> int:
        return self.convolutions + self.dense

    def through(self, kernel: int, stride: int, dilation: int = 1) -> "Seen":
        """After a window of that many positions a side."""
        field = self.receptive_field + dilation * (kernel - 1) * self.stride
        return Seen(field, self.stride * stride, self.convolutions, self.dense)


def merged(all_seen: Sequence[Seen]) -> Seen:
    """Of several inputs: the widest field, the widest stride, the longest way."""
    longest = max(all_seen, key=lambda seen: seen.depth)
    field = max(seen.receptive_field for seen in all_seen)
    return Seen(field, max(seen.stride for seen in all_seen), longest.convolutions, longest.dense)


def seen_by(value: Any) -> Seen | None:
    """What is known of a tensor, or of the tensors in a list."""
    if isinstance(value, Tensor):
        return getattr(value, "lenext_seen", None)
    if isinstance(value, list | tuple):
        inside = [one for one in map(seen_by, value) if one is not None]
        return merged(inside) if inside else None
    return None


def mark(value: Any, seen: Seen) -> None:
    """Note it on a tensor, or on the tensors in a list."""
    if isinstance(value, Tensor):
        value.lenext_seen = seen  # type: ignore[attr-defined]
    elif isinstance(value, list | tuple):
        for one in value:
            mark(one, seen)


class Trace(TorchFunctionMode):
    """While it is entered, every result is marked with what it has seen."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [one for one in map(seen_by, [*args, *(kwargs or {}).values()]) if one is not None]
        if inputs:
            mark(result, step(getattr(func, "__name__", ""), merged(inputs), args, kwargs or {}))
        return result


def step(name: str, seen: Seen, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Seen:
    """What a function's result has seen, from what its inputs have."""

    def argument(key: str, place: int, otherwise: Any) -> int:
        value = kwargs.get(key, args[place] if len(args) > place else otherwise)
        value = max(value) if isinstance(value, list | tuple) and value else value
        return otherwise if value is None or isinstance(value, list | tuple | str) else int(value)

    if name in CONVOLUTIONS:
        seen = seen.through(max(args[1].shape[2:]), argument("stride", 3, 1), argument("dilation", 5, 1))
        return Seen(seen.receptive_field, seen.stride, seen.convolutions + 1, seen.dense)
    if name in POOLINGS:
        kernel = argument("kernel_size", 1, 1)
        return seen.through(kernel, argument("stride", 2, kernel))
    if name == "adaptive_avg_pool2d":
        size, wanted = max(args[0].shape[2:]), argument("output_size", 1, 1)
        return seen.through(-(-size // wanted), -(-size // wanted)) if wanted < size else seen
    if name == "linear":
        return Seen(seen.receptive_field, seen.stride, seen.convolutions, seen.dense + 1)
    if name in ("flatten", "reshape", "view") and args[0].ndim == 4 and max(args[0].shape[2:]) > 1:
        return seen.through(max(args[0].shape[2:]), 1)
    if name == "mean" and args[0].ndim == 4:
        return seen.through(max(args[0].shape[2:]), 1)
    return seen
