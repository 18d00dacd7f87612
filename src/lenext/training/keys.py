"""Keys of a recipe: one declaration each, with default, type, limits and help."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import convert, format_value

Auto = Literal["auto"]
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """The range of a number.

    Attributes:
        low: The least value.
        high: The greatest value.
        below: A value that is just too great.
    """

    low: float
    high: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return (self.low <= value <= self.high and value < self.below) or value == self.high == math.inf

    def __str__(self) -> str:
        if self.below < math.inf:
            return f"from {format_number(self.low)} to below {format_number(self.below)}"
        if self.high < math.inf:
            return f"from {format_number(self.low)} to {format_number(self.high)}"
        return f"at least {format_number(self.low)}" if self.low else "0 or more"


COUNT = Limits(0)
FRACTION = Limits(0, below=1)
PROBABILITY = Limits(0, 1)
SEED = Limits(0, MAX_SEED)


def format_number(value: float) -> str:
    """Return a number as a person writes it: `0.01`, `4096`, `1,000,000`."""
    if value == MAX_SEED:
        return "2^63 - 1"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else f"{value:g}"


def key(default: Any, about: str, limits: Limits | None = None) -> Any:
    """Declare a key of a recipe.

    Args:
        default: Its value when neither a recipe nor an option sets it.
        about: Its help on the command line.
        limits: The range of its number; None for a key that is not a number, or any number.
    """
    return field(default=default, metadata={"about": about, "limits": limits})


def convert_key(declaration: "dataclasses.Field[Any]", kind: Any, value: object) -> Any:
    """Return a value in the type of its key.

    Raises:
        ConfigurationError: The value has another type, or is beyond the key's limits.
    """
    converted = convert(declaration.name, value, kind)
    limits = declaration.metadata["limits"]
    if limits is not None and not isinstance(converted, str) and converted not in limits:
        raise ConfigurationError(f"{declaration.name}={format_value(converted)}: it must be {limits}")
    return converted
