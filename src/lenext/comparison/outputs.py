"""The outputs of a comparison: a CSV, a page, and the console."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from rich.table import Table

from lenext.comparison.specification import Comparison, EpochRow, Specification
from lenext.comparison.standings import Part, Standing
from lenext.comparison.statistics import paired_difference, pareto_front
from lenext.foundation.files import csv_text, write_atomic
from lenext.reporting.console import Console, format_duration
from lenext.reporting.page import render
from lenext.reporting.redaction import redact_paths
from lenext.reporting.svg import SERIES_CLASSES, Chart, Line, Mark, Scatter
from lenext.reporting.tables import build_table

MAX_TABLE_ROWS = 20  # on the console
MIN_TIME_RATIO = 1.25  # training times closer than this differ by the machine's load
CONSOLE_COLUMNS = {
    "contestant": "left", "validation %": "right", "test %": "right", "parameters": "right", "multiply-adds": "right",
    "training": "right", "latency": "right",
}  # fmt: skip


def write_results(specification: Specification, comparison: Comparison, facts: Mapping[str, str]) -> None:
    """Write the CSV and the page into the comparison's folder."""
    standings, part = comparison.standings, specification.part
    epochs = specification.epoch_rows(standings)
    text = epochs_csv(epochs) if epochs else standings_csv(standings)
    write_atomic(comparison.path / f"{specification.kind}.csv", text)
    shown = [replace(item, name=redact_paths(item.name)) for item in standings]  # before charts make room for names
    baseline = next((item for item in shown if item.name == specification.baseline), shown[0])
    charts = epoch_charts(epochs) if epochs else standing_charts(shown)
    page = render(
        "comparison.html",
        title=specification.title(),
        best=shown[0] if has_headline(specification, standings) else None,
        nothing=not any(item.accuracies(part) for item in standings),
        part=part,
        rows=[] if epochs else standing_rows(shown, baseline, part),
        failures=[f"failed, {failure}" for item in shown for failure in item.failures] if epochs else [],
        epochs=epochs,
        against=baseline.name,
        sentences=[f"{sentence}." for sentence in comparison.conclusions],
        scatters=[] if epochs else cost_scatters(shown, part),
        charts=[chart for chart in charts if any(line.x for line in chart.lines)],
        facts=[
            *facts.items(),
            ("trials", format_counts(comparison)),
            *(("left out", f"{name}: {reason}") for name, reason in comparison.left_out.items()),
        ],
        command=shlex.join(specification.command()),
    )
    write_atomic(comparison.page, page)


def print_results(specification: Specification, comparison: Comparison, console: Console) -> None:
    """Print the table, the conclusions and where the page is."""
    epochs = specification.epoch_rows(comparison.standings)
    console.print()
    console.print(epochs_table(specification.table_title(), epochs) if epochs else
                  standings_table(specification.table_title(), comparison.standings[:MAX_TABLE_ROWS]))  # fmt: skip
    if not epochs and len(comparison.standings) > MAX_TABLE_ROWS:
        console.print(f"{len(comparison.standings) - MAX_TABLE_ROWS} more are on the page")
    for sentence in comparison.conclusions:
        console.print(sentence)
    console.print(f"{format_counts(comparison)}\n\npage: {comparison.page}")


def format_counts(comparison: Comparison) -> str:
    return ", ".join(f"{number} {state}" for state, number in comparison.counts.items())


def has_headline(specification: Specification, standings: Sequence[Standing]) -> bool:
    """Return whether the best contestant heads the page: one that validation chose, and not the test set."""
    best = standings[0]
    by_test = any(outcome.trial.experiment.recipe.select_on_test for outcome in best.outcomes)
    has_figures = bool(best.accuracies("validation") and best.accuracies(specification.part))
    return specification.ranked and has_figures and not by_test


def standing_rows(standings: Sequence[Standing], baseline: Standing, part: Part) -> list[dict[str, Any]]:
    """Return the table, a row for each contestant, in words."""
    rows = []
    for standing in standings:
        cost, ours = standing.cost, standing.accuracies(part)
        difference = None if standing is baseline else paired_difference(ours, baseline.accuracies(part))
        rows.append(
            {
                "name": standing.name,
                "validation": standing.format_accuracy("validation"),
                "test": standing.format_accuracy("test"),
                "difference": difference.format_points() if difference else "",
                "share": standing.mean(part),
                "parameters": f"{cost.parameters:,}" if cost else "",
                "multiply-adds": f"{'at least ' * cost.uncounted}{cost.multiply_adds / 1e6:,.1f} M" if cost else "",
                "memory": f"{cost.memory / 1e6:,.0f} MB" if cost else "",
                "latency": f"{1e3 * cost.latency:.2g} ms" if cost else "",
                "training": format_duration(standing.seconds) if standing.seconds is not None else "",
                "failures": standing.failures,
            }
        )
    return rows


def standings_table(title: str, standings: Sequence[Standing]) -> Table:
    keys = ("name", "validation", "test", "parameters", "multiply-adds", "training", "latency")
    rows = [row | {"training": row["training"] or "failed"} for row in standing_rows(standings, standings[0], "test")]
    return build_table(title, CONSOLE_COLUMNS, [[row[key] for key in keys] for row in rows])


def standings_csv(standings: Sequence[Standing]) -> str:
    """Return a row for each trial; accuracies are fractions."""
    options = sorted({key for standing in standings for key in standing.settings})
    rows = []
    for standing in standings:
        settings = [standing.settings.get(key, "") for key in options]
        for outcome in standing.outcomes:
            figures = [outcome.validation, outcome.test, outcome.seconds and round(outcome.seconds, 3)]
            name, failure = redact_paths(standing.name), redact_paths(outcome.failure)
            rows.append([name, *settings, outcome.trial.seed, *figures, len(outcome.records), failure])
    header = ["contestant", *options, "seed", "validation", "test", "seconds", "epochs", "failure"]
    return csv_text(header, rows)


def standing_charts(standings: Sequence[Standing]) -> list[Chart]:
    return [
        Chart("Validation accuracy, mean over seeds", mean_lines(standings, "val_accuracy"), percent=True),
        Chart("Training loss, mean over seeds", mean_lines(standings, "train_loss"), from_zero=True),
    ]


def mean_lines(standings: Sequence[Standing], metric: str) -> list[Line]:
    """Return a metric by epoch, the mean over the seeds that reached the epoch."""
    lines = []
    for index, standing in enumerate(standings):
        by_epoch: dict[int, list[float]] = {}
        for record in (record for outcome in standing.outcomes for record in outcome.records):
            if (value := getattr(record, metric)) is not None:
                by_epoch.setdefault(record.epoch, []).append(value)
        epochs = sorted(by_epoch)
        means = [fmean(by_epoch[epoch]) for epoch in epochs]
        lines.append(
            Line(standing.name, [float(epoch) for epoch in epochs], means, SERIES_CLASSES[index % len(SERIES_CLASSES)])
        )
    return lines


def cost_scatters(standings: Sequence[Standing], part: Part) -> list[Scatter]:
    """Plot accuracy over training time and over multiply-adds, with the Pareto front marked.

    A plot is left out if all cost the same; training times differ only by more than `MIN_TIME_RATIO`.
    """
    measured = [standing for standing in standings if standing.mean(part) is not None]
    costs: dict[str, tuple[str, list[float], float]] = {
        "training time": ("seconds", [standing.seconds or 0.0 for standing in measured], MIN_TIME_RATIO),
        "multiply-adds": ("of one image", [item.cost.multiply_adds if item.cost else 0 for item in measured], 1.0),
    }
    scatters = []
    for name, (unit, values, min_ratio) in costs.items():
        points = [(x, standing.mean(part) or 0.0) for x, standing in zip(values, measured, strict=True) if x]
        names = [standing.name for x, standing in zip(values, measured, strict=True) if x]
        front = set(pareto_front(points))
        if points and max(points)[0] > min_ratio * min(points)[0]:
            marks = [Mark(*point, names[index], index in front) for index, point in enumerate(points)]
            scatters.append(Scatter(f"{part.capitalize()} accuracy by {name}", marks, f"{name}, {unit}"))
    return scatters


def epochs_csv(rows: Sequence[EpochRow]) -> str:
    rounded = ([None if value is None else round(value, 4) for value in row.values()] for row in rows)
    return csv_text(list(rows[0]), rounded)


def epochs_table(title: str, rows: Sequence[EpochRow]) -> Table:
    cells = [
        [f"{value:.0f}" if name == "epoch" else "" if value is None else f"{value:.2f}" for name, value in row.items()]
        for row in rows
    ]
    return build_table(title, dict.fromkeys(rows[0], "right"), cells)


def epoch_charts(rows: Sequence[EpochRow]) -> list[Chart]:
    """Plot published and measured accuracy over each other."""
    epochs = [row["epoch"] or 0.0 for row in rows]
    charts = []
    for title, suffix in (("Held out", ""), ("Training", ", training")):
        lines = []
        for name, look in (("published", "a"), ("measured", "b")):
            values = [None if (value := row[f"{name}{suffix}"]) is None else value / 100 for row in rows]
            if any(value is not None for value in values):
                lines.append(Line(name, epochs, values, look))
        if lines:
            charts.append(Chart(f"{title}: accuracy", lines, percent=True))
    return charts
