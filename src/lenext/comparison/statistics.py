"""What may be said of figures over several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences; half: half the width of its 95 % interval by Student's t, None of one pair."""

    mean: float
    half: float | None
    pairs: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half is not None and abs(self.mean) > self.half

    def points(self) -> str:
        """In points of accuracy."""
        return f"{100 * self.mean:+.2f}" + ("" if self.half is None else f" ± {100 * self.half:.2f}")


def deviation(values: Sequence[float]) -> float | None:
    """Of a sample; of one value there is none."""
    return stdev(values) if len(values) > 1 else None


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Of figures by seed: ours less theirs where both have one; None where no seed is in both."""
    seeds = sorted(ours.keys() & theirs.keys())
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    if not differences:
        return None
    spread = deviation(differences)
    if spread is None:
        return Difference(differences[0], None, 1)
    from scipy.stats import t

    number = len(differences)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, number - 1)) * spread / math.sqrt(number)
    return Difference(fmean(differences), half, number)


def sentence(better: str, worse: str, difference: Difference, what: str) -> str:
    """What the difference of the first less the second bears out; where it is negative, the names change places."""
    if difference.mean < 0:
        better, worse = worse, better
    size = f"{100 * abs(difference.mean):.2f}"
    if difference.half is None:
        return f"{better} is {size} points of {what} above {worse} with one seed, which says nothing of chance"
    over = f"95 % interval over {difference.pairs} seeds"
    if difference.is_clear:
        return f"{better} is better than {worse} by {size} ± {100 * difference.half:.2f} points of {what} ({over})"
    return f"{better} and {worse} cannot be told apart: {size} ± {100 * difference.half:.2f} points of {what} ({over})"


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Of (cost, value) those that no other beats in both: the least costly for its value or better, by cost."""
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    best, found = -math.inf, []
    for at in order:
        if points[at][1] > best:
            best = points[at][1]
            found.append(at)
    return found
