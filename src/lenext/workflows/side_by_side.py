"""`compare`: several runs on one page, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.files import expand_path, make_folder, write_atomic
from lenext.reporting.console import format_duration
from lenext.reporting.page import render
from lenext.reporting.svg import SERIES_CLASSES, Chart, Line
from lenext.runs.folder import Run
from lenext.workflows.use import open_weights


def compare(*runs: str | Path | Run, out: str | Path = "compare.html") -> Path:
    """Write a page with the curves of several runs over each other and their figures in a table; returns its path.

    A run that is broken is shown as such. Raises ConfigurationError for fewer than two.
    """
    if len(runs) < 2:
        raise ConfigurationError("compare needs two runs or more; `lenext list runs` shows those there are")
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    rows = [row_of(run) for run in opened]
    path = expand_path(out)
    make_folder(path.parent)
    shown = [(row["name"], row["records"]) for row in rows if row["records"]]
    charts = [
        Chart("Validation loss", lines(shown, "val_loss"), from_zero=True),
        Chart("Validation accuracy", lines(shown, "val_accuracy"), percent=True),
        Chart("Training loss", lines(shown, "train_loss"), from_zero=True),
        Chart("Training accuracy", lines(shown, "train_accuracy"), percent=True),
    ]
    same = len({(row["data"], row["split"]) for row in rows}) == 1
    write_atomic(
        path, render("compare.html", title=f"{len(rows)} runs side by side", rows=rows, charts=charts, same=same)
    )
    return path


def lines(runs: Sequence[tuple[str, Sequence[Any]]], name: str) -> list[Line]:
    """One figure of several runs by epoch."""
    return [
        Line(
            called,
            [float(one.epoch) for one in records],
            [getattr(one, name) for one in records],
            SERIES_CLASSES[at % len(SERIES_CLASSES)],
        )
        for at, (called, records) in enumerate(runs)
    ]


def row_of(run: Run) -> dict[str, Any]:
    """What a run comes to; of a broken one, why."""
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
        module, _ = open_weights(run)
        row["parameters"] = sum(one.numel() for one in module.parameters())
    except (LenextError, AttributeError, TypeError, ValueError) as error:
        row["broken"] = " ".join(str(error).split())
    return row
