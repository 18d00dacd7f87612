"""A call of one of torch's functions, as the rules of `windows` and `rules` look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lenext.inspection.places import Seen


@dataclass(frozen=True)
class Call:
    """A call of a function. operands: what its positional arguments have seen; inputs: all that is known of any.

    result: its result, or the one of several `results` at `place`.
    """

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    operands: Sequence[Seen | None]
    inputs: Sequence[Seen]
    result: Tensor
    place: int
    results: Sequence[Any]

    @property
    def first(self) -> Seen:
        """What the input has seen."""
        return self.operands[0] if self.operands and self.operands[0] else self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.result.shape)

    def argument(self, key: str, place: int, default: Any = None) -> Any:
        value = self.kwargs.get(key, self.args[place] if len(self.args) > place else default)
        return default if value is None else value

    def axis(self, place: int, default: int = 0) -> int:
        """The argument `dim`, counted from the first axis."""
        return int(self.argument("dim", place, default)) % len(self.first.axes)


def each(value: Any, count: int) -> list[Any]:
    """An argument for each of `count` sides."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * count if len(values) == 1 else values
