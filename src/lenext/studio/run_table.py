"""The runs of a folder as rows of a table, and one run in full. Files are read again only when they have changed."""

import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lenext.foundation.errors import RunError
from lenext.foundation.files import read_tail
from lenext.foundation.settings import MAX_BITS
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run, find_runs, modified_ns
from lenext.workflows.listing import summarize_run

PAGES = ("report.html", "explorer.html")
FIGURES = ("results.png", "confusion_matrix.png", "mistakes.png")
ROW_FILES = ("recipe.yaml", "results.csv", "results.json", *PAGES)
MAX_LOG_BYTES = 1 << 18
MAX_DEPTH = 50  # of lists in lists
LOG_LINES = 200  # shown


@dataclass(frozen=True)
class CachedRow:
    """A row, and when the files that it was read from were written."""

    modified: tuple[int, ...]
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

    def names(self) -> list[str]:
        """Return the names of the runs that `find` opens, the newest last."""
        names = []
        for run in find_runs(self.runs_dir):
            with suppress(RunError, UnicodeEncodeError):  # a name that is no text has no address
                run.path.name.encode()
                names.append(self.find(run.path.name).path.name)
        return names

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the row of each run by its name, the newest last."""
        with self.lock:
            self.cached = {name: self.read(name) for name in self.names()}
            return {name: each.row for name, each in self.cached.items()}

    def read(self, name: str) -> CachedRow:
        """Return a run's row: the cached one where nothing has changed."""
        run = Run(self.runs_dir / name)
        modified = tuple(modified_ns(run.path / file) for file in ROW_FILES)
        cached = self.cached.get(name)
        if cached is None or cached.modified != modified:
            return CachedRow(modified, read_row(run) | {"changed": max(modified) / 1e9})
        if cached.row["state"] in ("training", "stopped"):  # a process may have come, or gone
            state = "training" if run.trainer else "stopped"
            return cached if state == cached.row["state"] else CachedRow(modified, cached.row | {"state": state})
        return cached


def read_row(run: Run) -> dict[str, Any]:
    """Return a run's row of the table."""
    return summarize_run(run) | {"name": run.path.name, "started": modified_ns(run.path / "recipe.yaml") / 1e9}


def describe(run: Run) -> dict[str, Any]:
    """Return all that the page of one run shows. Raises RunError for one that cannot be read."""
    experiment, split, results = run.experiment, run.read_json("split.json"), run.results
    is_own = not experiment.network or is_user_network(experiment.network)
    return read_row(run) | {
        "records": [asdict(record) for record in run.records],
        "samples": split.get("samples") or {},
        "test_reads": run.test_reads,
        "by_class": results.get("classes") or [],
        "recipe": experiment.to_yaml(),
        "has_own_network": is_own,
        "has_weights": run.weights().is_file(),
        "log": read_log(run.path / "train.log"),
        "pages": [name for name in PAGES if (run.path / name).is_file()],
        "figures": [name for name in FIGURES if (run.path / name).is_file()],
        "path": str(run.path),
    }


def read_log(path: Path) -> str:
    """Return the last lines of a log; nothing without it."""
    try:
        return "\n".join(read_tail(path, MAX_LOG_BYTES).splitlines()[-LOG_LINES:]) if path.is_file() else ""
    except OSError as error:
        return f"{path.name}: {error.strerror or error}"


def as_json_value(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON can hold it: a number that is not finite becomes text, and what is absurd `...`."""
    if depth > MAX_DEPTH or (isinstance(value, int) and value.bit_length() > MAX_BITS):
        return "..."
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json_value(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(each, depth + 1) for each in value]
    return value
