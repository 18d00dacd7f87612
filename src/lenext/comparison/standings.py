"""Standings: what each contestant reached over the seeds, and what the differences support."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Literal

from lenext.comparison.statistics import describe_difference, paired_difference, standard_deviation
from lenext.comparison.trials import Outcome
from lenext.workflows.costs import Cost

Part = Literal["validation", "test"]
MAX_NEIGHBOUR_PAIRS = 6


@dataclass(frozen=True)
class Standing:
    """A contestant's outcomes, one for each seed."""

    name: str
    outcomes: tuple[Outcome, ...]
    cost: Cost | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # how it differs from the others, for the table

    def accuracies(self, part: Part) -> dict[int, float]:
        """Return the accuracy by seed."""
        values = {outcome.trial.seed: getattr(outcome, part) for outcome in self.outcomes}
        return {seed: value for seed, value in values.items() if value is not None}

    def mean(self, part: Part) -> float | None:
        values = self.accuracies(part).values()
        return fmean(values) if values else None

    def format_accuracy(self, part: Part) -> str:
        """Return mean and deviation in per cent."""
        values = list(self.accuracies(part).values())
        if not values:
            return ""
        deviation = standard_deviation(values)
        return f"{100 * fmean(values):.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")

    @property
    def seconds(self) -> float | None:
        """The training time in seconds, the median over the seeds."""
        values = [outcome.seconds for outcome in self.outcomes if outcome.seconds is not None]
        return median(values) if values else None

    @property
    def failures(self) -> list[str]:
        return [f"seed {outcome.trial.seed}: {outcome.failure}" for outcome in self.outcomes if outcome.failure]


def rank_standings(standings: Iterable[Standing]) -> list[Standing]:
    """Sort by validation accuracy, the best first; those without one are last."""
    return sorted(standings, key=lambda item: -(-1.0 if (mean := item.mean("validation")) is None else mean))


def compare_pair(first: Standing, second: Standing, part: Part) -> list[str]:
    """Return what the paired differences of two contestants support, as one sentence; none if they share no seed."""
    difference = paired_difference(first.accuracies(part), second.accuracies(part))
    return [describe_difference(first.name, second.name, difference, f"{part} accuracy")] if difference else []


def compare_neighbours(standings: Sequence[Standing], part: Part) -> list[str]:
    """Compare neighbours in the ranking, and the best with the last."""
    measured = [standing for standing in standings if standing.accuracies(part)]
    pairs = list(pairwise(measured))[:MAX_NEIGHBOUR_PAIRS]
    if len(measured) > 2:
        pairs.append((measured[0], measured[-1]))
    return [sentence for better, worse in pairs for sentence in compare_pair(better, worse, part)]


def name_guessing(standings: Iterable[Standing]) -> list[str]:
    """Name contestants still at chance: their accuracy is the budget's and the rate's, not the network's."""
    sentences = []
    for standing in standings:
        guessing = sum(outcome.is_guessing for outcome in standing.outcomes)
        if guessing:
            total = len(standing.outcomes)
            seeds = "" if guessing == total else f" with {guessing} of {total} seeds"
            sentences.append(
                f"{standing.name} still guesses{seeds}: longer training or another learning_rate may change that"
            )
    return sentences
