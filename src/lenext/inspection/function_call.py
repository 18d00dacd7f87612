"""A call of one of torch's functions, as the rules for receptive fields read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lenext.inspection.receptive_field import ReceptiveField


@dataclass(frozen=True)
class FunctionCall:
    """A call of a function, and one of its results.

    Attributes:
        name: Name of the function.
        args: Positional arguments.
        kwargs: Keyword arguments.
        operands: Receptive fields of the positional arguments; None if unknown.
        inputs: All known receptive fields of the arguments.
        result: The result, or one of several.
        result_index: Its index in `results`.
        results: All results.
    """

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    operands: Sequence[ReceptiveField | None]
    inputs: Sequence[ReceptiveField]
    result: Tensor
    result_index: int
    results: Sequence[Any]

    @property
    def input_field(self) -> ReceptiveField:
        """Receptive field of the first argument."""
        return self.operands[0] if self.operands and self.operands[0] else self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.result.shape)

    def argument(self, key: str, position: int, default: Any = None) -> Any:
        """Return an argument by its keyword or its position; None is replaced by the default."""
        value = self.kwargs.get(key, self.args[position] if len(self.args) > position else default)
        return default if value is None else value

    def axis(self, position: int, default: int = 0) -> int:
        """Return the argument `dim`, counted from the first axis."""
        return int(self.argument("dim", position, default)) % len(self.input_field.axes)


def per_axis(value: Any, count: int) -> list[Any]:
    """Return the values of an argument for each of `count` axes."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * count if len(values) == 1 else values
