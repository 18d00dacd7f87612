"""The remaining time of a comparison."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from lenext.reporting.console import format_duration


@dataclass
class Forecast:
    """The expected time of a comparison's trainings, corrected by those that have ended.

    What an ended training took longer than expected is loading and testing above all, which are alike for all.
    """

    expected: Mapping[str, float | None]  # seconds of one training of each contestant; None if unknown
    excess: list[float] = field(default_factory=list)  # seconds that each ended training took longer

    def record_time(self, contestant: str, seconds: float) -> None:
        """Learn from a training that has ended."""
        if expected := self.expected.get(contestant):
            self.excess.append(seconds - expected)

    def remaining_seconds(self, contestants: Iterable[str]) -> float | None:
        """Return how long trainings of these contestants take, one after another; None unless known for each."""
        excess = fmean(self.excess) if self.excess else 0.0
        total = 0.0
        for contestant in contestants:
            expected = self.expected.get(contestant)
            if expected is None:
                return None
            total += max(expected + excess, 0.0)
        return total

    def format_remaining(self, contestants: Iterable[str]) -> str:
        """Return the remaining time in words; empty if it is unknown or nothing remains."""
        seconds = self.remaining_seconds(contestants)
        return f"about {format_duration(seconds)}" if seconds else ""
