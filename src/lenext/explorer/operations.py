"""A network as a list of operations, such as convolutions and additions, which the page computes one by one.

Tensors are stored as (C, H, W) or as vectors, without the batch. Where a network moves its channels to the end and
back, as ConvNeXt does, only their order in the program changes, not the storage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Operation:
    """A step of the computation.

    Attributes:
        kind: Its name in the page's `operations`.
        inputs: The values that it takes: 0 is the network's input, and position + 1 the result of an operation.
        shape: Of its result, (C, H, W) or (D,).
        module: Name of the module that it runs in.
        tensors: Its weights by role.
        settings: Its other arguments.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    module: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    """A tensor of the program.

    Attributes:
        position: Which value it is.
        shape: As it is stored, (C, H, W) or (D,).
        axes: The stored axes in the program's order, without the batch.
    """

    position: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def is_ordered(self) -> bool:
        return self.axes == tuple(range(len(self.shape)))


class UnsupportedError(Exception):
    """The page cannot compute something; the message says what."""


@dataclass
class Builder:
    """Collects operations.

    Attributes:
        operations: Those so far.
        module: Name of the module that the next ones run in.
    """

    operations: list[Operation] = field(default_factory=list)
    module: str = ""

    def add(
        self,
        kind: str,
        inputs: Sequence[Value],
        like: Value | tuple[int, ...],
        tensors: Mapping[str, Tensor | None] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Value:
        """Append an operation, and return its value: stored as another one is, or of a shape in the stored order."""
        shape = like.shape if isinstance(like, Value) else tuple(int(size) for size in like)
        stored = {role: tensor.float() for role, tensor in (tensors or {}).items() if tensor is not None}
        positions = tuple(each.position for each in inputs)
        self.operations.append(Operation(kind, positions, shape, self.module, stored, settings or {}))
        axes = like.axes if isinstance(like, Value) else tuple(range(len(shape)))
        return Value(len(self.operations), shape, axes)

    def ordered(self, value: Value) -> Value:
        """Return a value that is stored in the program's order."""
        if value.is_ordered:
            return value
        shape = tuple(value.shape[axis] for axis in value.axes)
        long = [axis for axis in value.axes if value.shape[axis] > 1]
        if long == sorted(long):
            return self.add("reshape", [value], shape)
        return self.add("permute", [value], shape, settings={"axes": value.axes})

    def map(self, value: Value, name: str) -> Value:
        """Return a value that is a map (C, H, W) in the program's order."""
        value = self.ordered(value)
        if len(value.shape) != 3:
            raise UnsupportedError(f"`{name}` of a tensor that is no image")
        return value


CONVERSIONS: dict[str, Callable[..., Any]] = {}
"""What makes operations of one of torch's functions, by its name."""


def converts(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a conversion for some of torch's functions."""

    def register(conversion: Callable[..., Any]) -> Callable[..., Any]:
        CONVERSIONS.update(dict.fromkeys(names, conversion))
        return conversion

    return register


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
