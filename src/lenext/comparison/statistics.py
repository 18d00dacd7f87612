"""Statistics of accuracies over several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences with its confidence interval."""

    mean: float
    half_width: float | None  # half the width of the 95 % interval by Student's t; None for a single pair
    pairs: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    def format_points(self) -> str:
        return f"{100 * self.mean:+.2f}" + ("" if self.half_width is None else f" ± {100 * self.half_width:.2f}")


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample; None for a single value."""
    return stdev(values) if len(values) > 1 else None


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Return the mean of ours minus theirs over the seeds that both have; None if they share no seed."""
    seeds = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    if not differences:
        return None
    deviation = standard_deviation(differences)
    if deviation is None:
        return Difference(differences[0], None, 1)
    from scipy.stats import t

    count = len(differences)
    half_width = float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * deviation / math.sqrt(count)
    return Difference(fmean(differences), half_width, count)


def describe_difference(better: str, worse: str, difference: Difference, metric: str) -> str:
    """Return what the difference of the first to the second supports; if it is negative, the names change places."""
    if difference.mean < 0:
        better, worse = worse, better
    points = f"{100 * abs(difference.mean):.2f}"
    if difference.half_width is None:
        return f"{better} is {points} points of {metric} above {worse} with one seed, which says nothing of chance"
    points += f" ± {100 * difference.half_width:.2f} points of {metric} (95 % interval over {difference.pairs} seeds)"
    if difference.is_clear:
        return f"{better} is better than {worse} by {points}"
    return f"{better} and {worse} cannot be told apart: {points}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, value) points that no other beats in both, by rising cost."""
    best, front = -math.inf, []
    for index in sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1])):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return front
