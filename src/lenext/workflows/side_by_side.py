"""`compare` of finished runs: their curves and figures on one page, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.files import expand_path, make_folder, write_atomic
from lenext.reporting.console import format_duration
from lenext.reporting.page import render
from lenext.reporting.svg import SERIES_CLASSES, Chart, Line
from lenext.runs.folder import Run
from lenext.training.metrics import Record
from lenext.workflows.open_weights import open_weights


def compare(*runs: str | Path | Run, out: str | Path = "compare.html") -> Path:
    """Write a page with the curves of several runs over each other and their figures in a table.

    A broken run has a row that says what is wrong.

    Returns:
        The path of the page.

    Raises:
        ConfigurationError: There are fewer than two runs.
    """
    if len(runs) < 2:
        raise ConfigurationError("compare needs two runs or more; `lenext list runs` lists them")
    opened = [Run.open(run) for run in runs]
    rows = [summarize_run(run) for run in opened]
    path = expand_path(out)
    make_folder(path.parent)
    records = [(row["name"], row["records"]) for row in rows if row["records"]]
    charts = [
        Chart("Validation loss", metric_lines(records, "val_loss"), from_zero=True),
        Chart("Validation accuracy", metric_lines(records, "val_accuracy"), percent=True),
        Chart("Training loss", metric_lines(records, "train_loss"), from_zero=True),
        Chart("Training accuracy", metric_lines(records, "train_accuracy"), percent=True),
    ]
    same = len({(row["data"], row["split"]) for row in rows}) == 1
    write_atomic(
        path, render("compare.html", title=f"{len(rows)} runs side by side", rows=rows, charts=charts, same=same)
    )
    return path


def metric_lines(runs: Sequence[tuple[str, Sequence[Record]]], metric: str) -> list[Line]:
    """Return a metric by epoch, a line for each run."""
    lines = []
    for index, (name, records) in enumerate(runs):
        epochs, values = [float(record.epoch) for record in records], [getattr(record, metric) for record in records]
        lines.append(Line(name, epochs, values, SERIES_CLASSES[index % len(SERIES_CLASSES)]))
    return lines


def summarize_run(run: Run) -> dict[str, Any]:
    """Return a run's row of the table; of a broken run, with the reason."""
    row: dict[str, Any] = dict.fromkeys(("network", "data", "split", "time", "epochs", "broken"), "")
    row |= {"name": run.path.name, "records": [], "parameters": None, "validation": None, "test": None}
    try:
        experiment, results, records = run.experiment, run.results, run.records
        row |= {"network": experiment.network or "(made in Python)", "data": experiment.data, "records": records}
        row["split"] = str(run.read_json("split.json").get("taken_out_of_train"))
        row["epochs"] = f"{len(records)}/{experiment.recipe.epochs}"
        row["validation"] = (results.get("validation") or {}).get("accuracy")
        row["test"] = (results.get("test") or {}).get("accuracy")
        row["time"] = format_duration(float(results["training_seconds"])) if "training_seconds" in results else ""
        network, _ = open_weights(run)
        row["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    except (LenextError, AttributeError, TypeError, ValueError) as error:
        row["broken"] = " ".join(str(error).split())
    return row
