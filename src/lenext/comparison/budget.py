"""What each contestant may spend: epochs, time, or multiply-adds; the last two are turned into steps once."""

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
LARGEST = 1e9  # of any unit
ROUNDING = 1e-9  # of a number of steps
TRAINING = 3  # multiply-adds of a training step, in forward passes: one forward, two backward


@dataclass(frozen=True)
class Budget:
    """kind: of training seconds, or of multiply-adds in training; amount: of one trial."""

    kind: Literal["seconds", "multiply-adds"]
    amount: float

    @staticmethod
    def parse(text: str) -> "Budget":
        """`90s`, `5m`, `1h`: training time; `30T`, `2P`: multiply-adds. Raises ConfigurationError."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([a-zA-Z]+)\s*", text)
        if not found or found[2] not in UNITS or not 0 < float(found[1]) < LARGEST:
            raise ConfigurationError(
                f"budget={text}: a time (90s, 5m, 1h) or multiply-adds (30T, 2P) is needed; epochs have --epochs"
            )
        kind, unit = UNITS[found[2]]
        return Budget(kind, float(found[1]) * unit)

    def steps(self, step_seconds: float, step_multiply_adds: float) -> int:
        """How many steps it pays for; a billionth short of a step is rounding's, and pays for it."""
        return int(self.amount / (step_seconds if self.kind == "seconds" else step_multiply_adds) * (1 + ROUNDING))

    def of_steps(self, number: int, step_seconds: float, step_multiply_adds: float) -> str:
        """What so many steps cost, as a budget is given; never less."""
        if self.kind == "seconds":
            cost = math.ceil(number * step_seconds)
            return f"{cost}s" if cost < 600 else f"{math.ceil(cost / 60)}m"
        cost_adds = number * step_multiply_adds
        name, unit = next((name, unit) for name, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9))
                          if cost_adds >= unit or name == "G")  # fmt: skip
        return f"{math.ceil(10 * cost_adds / unit) / 10:.1f}".removesuffix(".0") + name

    def said(self) -> str:
        if self.kind == "seconds":
            return f"{format_duration(self.amount)} of training steps each, without validation"
        return f"{self.amount:.3g} multiply-adds of training each"
