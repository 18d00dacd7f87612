"""The runs of a folder as rows of a table, and one run in full. Files are read again only when they have changed."""

import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lenext.data import shown_source
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.files import read_regular
from lenext.runs.folder import Run, find_runs

ROW_FILES = ("recipe.yaml", "results.csv", "results.json")
PAGES = ("report.html", "explorer.html")
FIGURES = ("results.png", "confusion_matrix.png", "mistakes.png")
MAX_LOG_BYTES = 8 << 20
LOG_LINES = 200  # shown


@dataclass(frozen=True)
class CachedRow:
    """A row, and the state of the files that it was read from."""

    stamps: tuple[int, ...]
    row: dict[str, Any]


class RunTable:
    """The runs of a folder."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.cached: dict[str, CachedRow] = {}
        self.lock = threading.Lock()

    def find(self, name: str) -> Run:
        """Return a run by its name. Raises RunError where there is none."""
        path = Run.path_for(self.runs_dir, name)
        if path.is_symlink() or not (path / "recipe.yaml").is_file():
            raise RunError(f"{name}: there is no such run in {self.runs_dir}; it may have been deleted")
        return Run(path)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the row of each run by its name, the newest last."""
        with self.lock:
            found = {run.path.name: run for run in find_runs(self.runs_dir)}
            self.cached = {name: self.read(name, run) for name, run in found.items()}
            return {name: each.row for name, each in self.cached.items()}

    def read(self, name: str, run: Run) -> CachedRow:
        """Return a run's row: the cached one where nothing has changed."""
        stamps = tuple(stamp(run.path / file) for file in (*ROW_FILES, *PAGES))
        cached = self.cached.get(name)
        if cached is None or cached.stamps != stamps:
            cached = CachedRow(stamps, read_row(run) | {"changed": max(stamps) / 1e9})
        if cached.row["state"] in ("training", "stopped"):
            state = "training" if run.is_training else "stopped"
            if state != cached.row["state"]:
                cached = CachedRow(stamps, cached.row | {"state": state})
        return cached


def stamp(path: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 without it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def read_row(run: Run) -> dict[str, Any]:
    """Return a run's row of the table; of a broken run, what is wrong with it."""
    row: dict[str, Any] = dict.fromkeys(
        ("network", "data", "optimizer", "seed", "done", "epochs", "validation", "test", "seconds", "error")
    )
    row |= {"name": run.path.name, "state": "broken", "last": None}
    try:
        experiment, results, records = run.experiment, run.results, run.records
        recipe = experiment.recipe
        row |= {"network": experiment.network or "(made in Python)", "data": shown_source(experiment.data)}
        row |= {"optimizer": recipe.optimizer, "seed": recipe.seed, "epochs": recipe.epochs, "done": len(records)}
        row |= {f"{part}": (results.get(part) or {}).get("accuracy") for part in ("validation", "test")}
        best = [each.val_accuracy for each in records if each.val_accuracy is not None]
        row["validation"] = row["validation"] if row["validation"] is not None else max(best, default=None)
        row["seconds"] = results.get("training_seconds")
        row["state"] = "finished" if run.is_finished(experiment) else "stopped"
        row["last"] = asdict(records[-1]) if records else None
    except (LenextError, AttributeError, TypeError, OSError) as error:
        row["error"] = " ".join(str(error).split())
    return row


def describe(run: Run) -> dict[str, Any]:
    """Return all that the page of one run shows. Raises RunError for one that cannot be read."""
    experiment, results = run.experiment, run.results
    row = read_row(run)
    if row["state"] == "stopped" and run.is_training:
        row["state"] = "training"
    return row | {
        "records": [asdict(record) for record in run.records],
        "classes": run.read_json("split.json").get("classes") or [],
        "samples": run.read_json("split.json").get("samples") or {},
        "test_reads": run.test_reads,
        "results": {key: value for key, value in results.items() if key != "classes"},
        "by_class": results.get("classes") or [],
        "recipe": experiment.to_yaml(),
        "can_draw": bool(experiment.network) and ".py:" not in experiment.network and run.weights().is_file(),
        "log": read_log(run.path / "train.log"),
        "pages": [name for name in PAGES if (run.path / name).is_file()],
        "figures": [name for name in FIGURES if (run.path / name).is_file()],
        "path": str(run.path),
    }


def read_log(path: Path) -> str:
    """Return the last lines of a log; nothing without it."""
    try:
        text = read_regular(path, MAX_LOG_BYTES).decode(errors="replace") if path.is_file() else ""
    except OSError as error:
        return f"{path.name}: {error.strerror or error}"
    return "\n".join(text.splitlines()[-LOG_LINES:])


def as_json_value(value: Any) -> Any:
    """Return a value as JSON can hold it: a number that is not finite becomes text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(each) for each in value]
    return value
