"""How long the trainings of a comparison will take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from lenext.reporting.console import format_duration


@dataclass
class Forecast:
    """Seconds that a training of each contestant is expected to take, set right by those that have ended."""

    expected: Mapping[str, float | None]
    excess: list[float] = field(default_factory=list)
    """Of each that ended, what it took beyond that: loading and testing, above all, which are alike for all."""

    def ended(self, contestant: str, took: float) -> None:
        """A training has ended, after so many seconds."""
        if expected := self.expected.get(contestant):
            self.excess.append(took - expected)

    def left(self, contestants: Iterable[str]) -> float | None:
        """Seconds that trainings of these will take, one after another; None where it is not known of all."""
        each = [self.expected.get(one) for one in contestants]
        known = [one for one in each if one is not None]
        beyond = fmean(self.excess) if self.excess else 0.0
        return sum(max(one + beyond, 0.0) for one in known) if len(known) == len(each) else None

    def said(self, contestants: Iterable[str]) -> str:
        """In words; nothing where it is not known, or nothing is left."""
        left = self.left(contestants)
        return f"about {format_duration(left)}" if left else ""
