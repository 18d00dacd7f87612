"""Contestants beside each other: what each reached, at what cost, and how sure the differences are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from lenext.comparison.statistics import Difference, deviation, paired, pareto, sentence
from lenext.comparison.trials import Outcome
from lenext.foundation.files import csv_text, write_atomic
from lenext.reporting.console import format_duration
from lenext.reporting.page import render
from lenext.reporting.redaction import redact_paths
from lenext.reporting.svg import SERIES_CLASSES, Chart, Line, Mark, Scatter
from lenext.reporting.tables import build_table

Part = Literal["validation", "test"]
ALIKE = 1.25  # of a training time to another


@dataclass(frozen=True)
class Cost:
    """Of one contestant. multiply_adds: of one image, forward; memory: bytes of a training step, estimated; latency:
    seconds for one image; step, epoch: seconds of a training step and of an epoch with its measuring, where a few
    steps were timed; batches: of an epoch; uncounted: whether there are multiply-adds of an unknown number besides."""

    parameters: int
    multiply_adds: int
    memory: int
    latency: float
    step: float | None = None
    epoch: float | None = None
    batches: int = 0
    uncounted: bool = False


@dataclass(frozen=True)
class Standing:
    """A contestant's outcomes over the seeds, and what it costs."""

    name: str
    outcomes: tuple[Outcome, ...]
    cost: Cost | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def figures(self, part: Part) -> dict[int, float]:
        """Accuracies by seed."""
        found = {one.trial.seed: getattr(one, part) for one in self.outcomes}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, part: Part) -> float | None:
        found = self.figures(part)
        return fmean(found.values()) if found else None

    def said(self, part: Part) -> str:
        """Mean and deviation in per cent."""
        found = list(self.figures(part).values())
        if not found:
            return ""
        spread = deviation(found)
        return f"{100 * fmean(found):.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")

    @property
    def seconds(self) -> float | None:
        """Of training, the median over the seeds."""
        found = [one.seconds for one in self.outcomes if one.seconds is not None]
        return median(found) if found else None

    @property
    def failures(self) -> list[str]:
        return [f"seed {one.trial.seed}: {one.failure}" for one in self.outcomes if one.failure]


def ranked(standings: Iterable[Standing], part: Part) -> list[Standing]:
    """The best first; those without a figure last."""
    return sorted(standings, key=lambda one: -(-1.0 if (mean := one.mean(part)) is None else mean))


def compared(standings: Sequence[Standing], base: Standing, part: Part) -> list[tuple[Standing, Difference | None]]:
    """Each with its paired difference to the base."""
    return [(one, None if one is base else paired(one.figures(part), base.figures(part))) for one in standings]


def sentences(standings: Sequence[Standing], part: Part) -> list[str]:
    """What the differences of neighbours in the ranking bear out, and the best against the last."""
    found = []
    there = [one for one in standings if one.figures(part)]
    pairs = list(pairwise(there))[:6]
    for better, worse in pairs + ([(there[0], there[-1])] if len(there) > 2 else []):
        difference = paired(better.figures(part), worse.figures(part))
        if difference:
            found.append(sentence(better.name, worse.name, difference, f"{part} accuracy"))
    return found


def guessing(standings: Iterable[Standing]) -> list[str]:
    """Those that have not begun to learn: what is said of them is of the budget and the rate, not of the network."""
    found = []
    for one in standings:
        seeds = [outcome.trial.seed for outcome in one.outcomes if outcome.guesses]
        if seeds:
            share = "" if len(seeds) == len(one.outcomes) else f" with {len(seeds)} of {len(one.outcomes)} seeds"
            found.append(f"{one.name} still guesses{share}: longer training or another learning_rate may change that")
    return found


def rows_of(standings: Sequence[Standing], base: Standing | None, part: Part) -> list[dict[str, Any]]:
    """The table: a row a contestant, in words."""
    rows = []
    for one, difference in compared(standings, base or standings[0], part):
        cost = one.cost
        rows.append(
            {
                "name": one.name,
                "validation": one.said("validation"),
                "test": one.said("test"),
                "difference": difference.points() if difference else "",
                "share": one.mean(part),
                "seeds": len(one.figures(part)),
                "parameters": f"{cost.parameters:,}" if cost else "",
                "multiply-adds": f"{'at least ' * cost.uncounted}{cost.multiply_adds / 1e6:,.1f} M" if cost else "",
                "memory": f"{cost.memory / 1e6:,.0f} MB" if cost else "",
                "latency": f"{1e3 * cost.latency:.2g} ms" if cost else "",
                "training": format_duration(one.seconds) if one.seconds is not None else "",
                "failures": one.failures,
            }
        )
    return rows


def curves(standings: Sequence[Standing]) -> list[Chart]:
    """Validation loss and accuracy by epoch, the mean over the seeds."""
    return [
        Chart("Validation accuracy, mean over seeds", lines(standings, "val_accuracy"), percent=True),
        Chart("Training loss, mean over seeds", lines(standings, "train_loss"), from_zero=True),
    ]


def lines(standings: Sequence[Standing], name: str) -> list[Line]:
    """One figure by epoch; where seeds ended at different epochs, the mean of those that are there."""
    found = []
    for at, one in enumerate(standings):
        by_epoch: dict[int, list[float]] = {}
        for record in (record for outcome in one.outcomes for record in outcome.records):
            if (value := getattr(record, name)) is not None:
                by_epoch.setdefault(record.epoch, []).append(value)
        epochs = sorted(by_epoch)
        means = [fmean(by_epoch[epoch]) for epoch in epochs]
        found.append(
            Line(one.name, [float(epoch) for epoch in epochs], means, SERIES_CLASSES[at % len(SERIES_CLASSES)])
        )
    return found


def fronts(standings: Sequence[Standing], part: Part) -> list[Scatter]:
    """Accuracy over training time and over multiply-adds; marked are those that no other beats in both.

    An image is left out where all cost the same: training times that differ by less than `ALIKE` are the machine's.
    """
    there = [one for one in standings if one.mean(part) is not None]
    costs: dict[str, tuple[str, list[float], float]] = {
        "training time": ("seconds", [one.seconds or 0.0 for one in there], ALIKE),
        "multiply-adds": ("of one image", [one.cost.multiply_adds if one.cost else 0 for one in there], 1.0),
    }
    found = []
    for what, (unit, values, alike) in costs.items():
        known = [(x, one.mean(part) or 0.0, one.name) for x, one in zip(values, there, strict=True) if x]
        best = set(pareto([(x, y) for x, y, _ in known]))
        if known and max(known)[0] > alike * min(known)[0]:
            marks = [Mark(x, y, name, at in best) for at, (x, y, name) in enumerate(known)]
            found.append(Scatter(f"{part.capitalize()} accuracy by {what}", marks, f"{what}, {unit}"))
    return found


def write_csv(standings: Sequence[Standing], path: Path) -> None:
    """A row a trial; accuracies as fractions."""
    options = sorted({key for one in standings for key in one.settings})
    rows = []
    for one in standings:
        settings = [one.settings.get(key, "") for key in options]
        for outcome in one.outcomes:
            figures = [outcome.validation, outcome.test, outcome.seconds and round(outcome.seconds, 3)]
            name, failure = redact_paths(one.name), redact_paths(outcome.failure)
            rows.append([name, *settings, outcome.trial.seed, *figures, len(outcome.records), failure])
    header = ["contestant", *options, "seed", "validation", "test", "seconds", "epochs", "failure"]
    write_atomic(path, csv_text(header, rows))


def write_page(
    path: Path,
    standings: Sequence[Standing],
    *,
    title: str,
    part: Part,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    command: str,
    base: Standing | None = None,
    headline: bool = True,
) -> None:
    """The table, the sentences, the Pareto images and the curves. A network of one's own is named without its place
    before charts make room for its name."""
    shown = [replace(one, name=redact_paths(one.name)) for one in standings]
    base = shown[standings.index(base)] if base else None
    standings, best = shown, shown[0]
    content = {
        "title": title,
        "best": best if headline and best.figures(part) else None,
        "nothing": not any(one.figures(part) for one in standings),
        "part": part,
        "rows": rows_of(standings, base, part),
        "against": (base or best).name,
        "sentences": [f"{one}." for one in notes],
        "scatters": fronts(standings, part),
        "charts": [chart for chart in curves(standings) if any(line.x for line in chart.lines)],
        "facts": facts,
        "command": command,
    }
    write_atomic(path, render("race.html", **content))


def tell(
    standings: Sequence[Standing], said: Sequence[str], say: Callable[[Any], None],
    title: str = "standings, by validation",
) -> None:  # fmt: skip
    """The table and the sentences."""
    columns = {
        "contestant": "left", "validation %": "right", "test %": "right", "parameters": "right",
        "multiply-adds": "right", "training": "right", "latency": "right",
    }  # fmt: skip
    rows = []
    for row in rows_of(standings, None, "validation"):
        cells = [
            row[key] for key in ("name", "validation", "test", "parameters", "multiply-adds", "training", "latency")
        ]
        rows.append([*cells[:5], cells[5] or "failed", cells[6]])
    say("")
    say(build_table(title, columns, rows))
    for line in said:
        say(line)
