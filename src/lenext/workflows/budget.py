"""The budget of each training in a race: time or multiply-adds, which become steps once, when the race is planned."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from lenext.foundation.errors import ConfigurationError
from lenext.reporting.console import format_duration

UNITS: dict[str, tuple[Literal["seconds", "multiply-adds"], float]] = {
    "s": ("seconds", 1.0), "m": ("seconds", 60.0), "min": ("seconds", 60.0), "h": ("seconds", 3600.0),
    "G": ("multiply-adds", 1e9), "T": ("multiply-adds", 1e12), "P": ("multiply-adds", 1e15),
    "E": ("multiply-adds", 1e18),
}  # fmt: skip
MAX_AMOUNT = 1e9  # of any unit
STEP_TOLERANCE = 1e-9  # relative rounding error of a number of steps
FORWARD_PASSES_PER_STEP = 3  # by multiply-adds: one forward, and a backward that costs two


@dataclass(frozen=True)
class Budget:
    """The budget of one training, in seconds or in multiply-adds."""

    kind: Literal["seconds", "multiply-adds"]
    amount: float

    @staticmethod
    def parse(text: str) -> "Budget":
        """Read `90s`, `5m`, `1h` as training time, `30T`, `2P` as multiply-adds.

        Raises:
            ConfigurationError: The text is neither.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([a-zA-Z]+)\s*", text)
        if not match or match[2] not in UNITS or not 0 < float(match[1]) < MAX_AMOUNT:
            raise ConfigurationError(
                f"budget={text}: give a time (90s, 5m, 1h) or multiply-adds (30T, 2P); --epochs limits the epochs"
            )
        kind, unit = UNITS[match[2]]
        return Budget(kind, float(match[1]) * unit)

    def cost(self, step_seconds: float, step_multiply_adds: float) -> float:
        """Return the cost of a step in the unit of the budget."""
        return step_seconds if self.kind == "seconds" else step_multiply_adds

    def count_steps(self, step_cost: float) -> int:
        """Return how many steps the budget pays for; a billionth short of a step is a rounding error, and counts."""
        return int(self.amount / step_cost * (1 + STEP_TOLERANCE))

    def format_cost(self, steps: int, step_cost: float) -> str:
        """Return the cost of a number of steps, rounded up, as a budget is written."""
        cost = steps * step_cost
        if self.kind == "seconds":
            return f"{math.ceil(cost)}s" if math.ceil(cost) < 600 else f"{math.ceil(math.ceil(cost) / 60)}m"
        name, unit = next((name, unit) for name, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9))
                          if cost >= unit or name == "G")  # fmt: skip
        return f"{math.ceil(10 * cost / unit) / 10:.1f}".removesuffix(".0") + name

    def describe(self) -> str:
        if self.kind == "seconds":
            return f"{format_duration(self.amount)} of training steps each, without validation"
        return f"{self.amount:.3g} multiply-adds of training each"
