"""Run folders: the experiment, its results and the weights. `Run` lists the files."""

import csv
import io
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import psutil

from lenext.foundation.errors import RunError
from lenext.foundation.files import csv_text, expand_path, make_folder, read_regular, write_atomic
from lenext.foundation.intervals import with_interval
from lenext.foundation.locks import lock_file
from lenext.foundation.notebook import image_html, tiles_html, title_html
from lenext.runs.layout import find_run_folder, weights_file
from lenext.training.experiment import Experiment, read_experiment
from lenext.training.metrics import Record, Records
from lenext.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from lenext.foundation.errors import DataError
    from lenext.runs.predict import Prediction

MAX_FILE_BYTES = 256 << 20  # of a table or JSON file in a run

LOCK, PROCESS_NOTE = ".lock", ".process.json"
"""In the folder of the checkpoints: the lock of a training, and its process."""
SAME_PROCESS_SECONDS = 2.0  # between two readings of when a process began

OPTIONAL_COLUMNS = {column.name: column.default for column in fields(Record) if column.default is not MISSING}
"""Columns of results.csv that are written only if a record differs from the default."""
COLUMNS = tuple(column.name for column in fields(Record) if column.name not in OPTIONAL_COLUMNS)


@dataclass(frozen=True)
class Run:
    """A run's folder.

    recipe.yaml       the Experiment; training from it repeats the run
    results.csv       a line an epoch
    results.json      at the end: test metrics, also by class; the best epoch; how often the test set was read
    predictions.csv   the test set, a line an image
    results.png, confusion_matrix.png, mistakes.png
    report.html       the page
    train.log         what was printed
    environment.json  versions, device, threads, precision
    corrections.csv   the corrections of the data, where there are some
    split.json        where the data came from and which samples are for validation and test
    weights/          best.safetensors, last.safetensors
    checkpoints/      for `resume`: the last three, named by epoch and step
    """

    path: Path

    @staticmethod
    def path_for(runs_dir: str | Path, name: str) -> Path:
        """Return the folder of a run by its name. Raises RunError where the name is not that of a folder."""
        if name != Path(name).name or not name.isprintable() or len(name.encode()) > 200 or name.startswith("."):
            raise RunError(f"{name!r}: not a name for a run; give the name of a folder in --runs-dir, without slashes")
        return expand_path(runs_dir) / name

    @staticmethod
    def choose_folder(path: Path, *, numbered: bool = False) -> Path:
        """Return the folder of a new run.

        Args:
            path: The preferred folder.
            numbered: Whether to add a number to the name if the folder exists.

        Raises:
            RunError: The folder exists already, or it cannot be made.
        """
        runs_dir, name = path.parent, path.name
        existing = next((folder for folder in (runs_dir, *runs_dir.parents) if folder.exists()), Path("."))
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            problem = "not writable" if existing.is_dir() else "a file"
            raise RunError(f"cannot make the folder {runs_dir}: {existing} is {problem}")
        number = 1
        while path.exists():
            if not numbered:
                raise RunError(f"{path} exists already; give another --name, or remove it")
            number += 1
            path = runs_dir / f"{name}-{number}"
        return path

    @classmethod
    def create(cls, preferred: Path, *, numbered: bool = False) -> "Run":
        """Make the folder that `choose_folder` returns, even if other processes make folders meanwhile."""
        while True:
            path = cls.choose_folder(preferred, numbered=numbered)
            try:
                path.mkdir(parents=True)
            except FileExistsError as error:
                if not path.exists():  # a parent is a file
                    raise RunError(f"cannot make the folder {path}: {error.strerror}") from error
                continue
            except OSError as error:
                raise RunError(f"cannot make the folder {path}: {error.strerror or error}") from error
            run = cls(path)
            make_folder(path / "weights")
            make_folder(run.checkpoints)
            return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for a training. Raises RunError if another process trains in it, or it contains a link."""
        for path in (self.checkpoints, self.path / "weights", *self.path.glob("*"), *self.path.glob("*/*")):
            if path.is_symlink():
                raise RunError(f"{path}: a link, but a run writes only into its own folder; put the file itself there")
        with lock_file(self.checkpoints / LOCK, self.path) as is_ours:
            if not is_ours:
                raise RunError(f"{self.path}: another process is training in it; wait for it, or end it")
            note = self.checkpoints / PROCESS_NOTE
            write_atomic(
                note,
                json.dumps(
                    {
                        "pid": os.getpid(),
                        "begun": psutil.Process().create_time(),
                        "heeds_signals": threading.current_thread() is threading.main_thread(),
                    }
                ),
            )
            try:
                yield
            finally:
                with suppress(OSError):
                    note.unlink(missing_ok=True)

    @property
    def trainer(self) -> psutil.Process | None:
        """The process of this machine that trains in the folder; None without one."""
        try:
            note = self.process_note
            process = psutil.Process(note["pid"])
            return process if abs(process.create_time() - note["begun"]) < SAME_PROCESS_SECONDS else None
        except (RunError, psutil.Error, LookupError, TypeError, ValueError, OverflowError):
            return None

    @property
    def process_note(self) -> dict[str, Any]:
        """The note of the process that trains in the folder: `pid`, `begun` and `heeds_signals`."""
        return self.read_json(f"checkpoints/{PROCESS_NOTE}")

    @classmethod
    def open(cls, run: "str | Path | Run") -> "Run":
        """Open an existing run by its folder; a run is returned unchanged. Raises RunError if there is none."""
        if isinstance(run, Run):
            return run
        return cls(find_run_folder(run))

    def _repr_html_(self) -> str:
        """Show the run in a notebook: its figures and its curves."""
        results = self.results
        figures = []
        for name, title in (("test", "test accuracy"), ("validation", "validation accuracy")):
            metrics = results.get(name) or {}
            if metrics.get("accuracy") is not None:
                figures.append((f"{metrics['accuracy']:.2%}", with_interval(title, metrics)))
        figures.append((f"{len(self.records)} of {self.experiment.recipe.epochs}", "epochs"))
        curves = self.path / "results.png"
        image = image_html(read_regular(curves, MAX_FILE_BYTES), "curves of the training") if curves.is_file() else ""
        return title_html(str(self.path), self.experiment.network) + tiles_html(figures) + image

    @property
    def experiment(self) -> Experiment:
        """The experiment in recipe.yaml."""
        content = read_experiment(self.path / "recipe.yaml")
        if self.corrections.is_file():
            content["corrections"] = str(self.corrections)
        return Experiment(**(content | {"recipe": Recipe().with_keys(content["recipe"])}))

    @property
    def corrections(self) -> Path:
        """The run's copy of the corrections of its data; the file that it was given may change."""
        return self.path / "corrections.csv"

    def is_finished(self, experiment: Experiment) -> bool:
        """Return whether the run has finished all epochs of the experiment, or stopped early."""
        results = self.results
        done, recipe = results.get("epochs"), experiment.recipe
        ended = results.get("stopped_early") is True or (recipe.steps != "all" and results.get("steps") == recipe.steps)
        return isinstance(done, int) and (done >= recipe.epochs or ended)

    @property
    def test_reads(self) -> int:
        """Number of times the test set was read."""
        reads = self.results.get("test_reads", 0)
        return reads if isinstance(reads, int) else 0

    @property
    def environment(self) -> dict[str, Any]:
        """Content of environment.json; entries of a wrong type are left out."""
        content = self.read_json("environment.json")
        kinds: dict[str, type] = {"threads": int, "data_dir": str, "resumed": list, "versions": dict}
        valid = {key: value for key, value in content.items() if isinstance(value, kinds.get(key, object))}
        threads = valid.get("threads", 1)
        return valid | ({} if isinstance(threads, int) and 1 <= threads <= 4096 else {"threads": 1})

    @property
    def results(self) -> dict[str, Any]:
        """Content of results.json; empty before the run has ended."""
        return self.read_json("results.json")

    @property
    def records(self) -> Records:
        """The records in results.csv, one for each epoch."""
        path = self.path / "results.csv"
        if not path.is_file():
            return Records()
        try:
            lines = io.StringIO(read_regular(path, MAX_FILE_BYTES).decode(), newline="")
            return Records(to_record(row) for row in csv.DictReader(lines))
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def weights(self, kind: str = "best") -> Path:
        """Return the path of the best or the last weights."""
        return weights_file(self.path, kind)

    def predict(
        self, *images: str | Path, top: int = 1, network: "nn.Module | str" = ""
    ) -> "list[Prediction | DataError]":
        """Return the most probable classes of images, as `lenext.predict` does with the best weights.

        Args:
            images: Image files, folders or globs.
            top: Number of classes per image.
            network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.
        """
        predictions: list[Prediction | DataError] = public_verb("predict")(self, *images, top=top, network=network)
        return predictions

    def explain(self, *images: str | Path, layer: str = "", network: "nn.Module | str" = "") -> "Figure":
        """Draw which parts of images the predictions depend on, as `lenext.explain` does.

        Args:
            images: Image files, folders or globs.
            layer: The layer that Grad-CAM uses; empty for the last layer that gives maps.
            network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.
        """
        figure: Figure = public_verb("explain")(self, *images, layer=layer, network=network)
        return figure

    def curves(self) -> "Figure":
        """Draw loss and accuracy by epoch, as `lenext.show.curves` does."""
        figure: Figure = public_verb("show").curves(self)
        return figure

    def confusion(self, *, normalized: bool = False) -> "Figure":
        """Draw the confusion matrix of the test images, in images or in per cent of the true class."""
        figure: Figure = public_verb("show").confusion(self, normalized=normalized)
        return figure

    def read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            return dict(json.loads(read_regular(path, MAX_FILE_BYTES))) if path.is_file() else {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error

    def write_json(self, name: str, content: Any) -> None:
        write_atomic(self.path / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_records(self, records: Sequence[Record]) -> None:
        """Write results.csv; an optional column is written only if a record has a value in it."""
        optional = (
            name
            for name, default in OPTIONAL_COLUMNS.items()
            if any(getattr(record, name) != default for record in records)
        )
        names = (*COLUMNS, *optional)
        self.write_csv("results.csv", names, ([asdict(record)[name] for name in names] for record in records))

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        write_atomic(self.path / name, csv_text(header, rows))


def public_verb(name: str) -> Any:
    """Return a public function or module; it imports this package, so it is imported only when it is used."""
    return getattr(import_module("lenext"), name)


def to_record(row: dict[str, str]) -> Record:
    """Convert a line of results.csv. Raises ValueError or TypeError."""
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(Record).items():
        text = row.get(name) or ""
        convert = next(part for part in (get_args(kind) or (kind,)) if part is not type(None))
        values[name] = convert(text) if text else OPTIONAL_COLUMNS.get(name)
    return Record(**values)


def modified_ns(path: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 for one that is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def find_runs(runs_dir: Path) -> list[Run]:
    """Return the runs in a folder, the newest last."""
    if not runs_dir.is_dir():
        return []
    return [Run(path.parent) for path in sorted(runs_dir.glob("*/recipe.yaml"), key=modified_ns)]
