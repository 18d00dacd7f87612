"""A run is a folder: what was done, how it went, and the weights. Its files are listed at `Run`."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lenext.foundation.errors import RunError
from lenext.foundation.files import csv_text, expand_path, make_folder, read_regular, write_atomic
from lenext.foundation.locks import lock_file
from lenext.training.experiment import Experiment, read_experiment
from lenext.training.recipe import Recipe
from lenext.training.state import Record

MOST_BYTES = 256 << 20  # of a table or JSON file in a run

SOMETIMES = {one.name: one.default for one in fields(Record) if one.default is not MISSING}
"""Columns of results.csv that are there where one of the records has something else in it."""
COLUMNS = tuple(one.name for one in fields(Record) if one.name not in SOMETIMES)


@dataclass(frozen=True)
class Run:
    """A run's folder.

    recipe.yaml       the Experiment; runs again as it is
    results.csv       a line an epoch
    results.json      at the end: the test set's figures, by class too; the best epoch; how often the test set was read
    predictions.csv   the test set, a line an image
    results.png, confusion_matrix.png, mistakes.png
    report.html       the page
    train.log         what was printed
    environment.json  versions, device, threads, precision
    split.json        where the data came from and which samples were kept for validation and test
    weights/          best.safetensors, last.safetensors
    checkpoints/      what `resume` goes on from: the last three, named by epoch and step
    """

    path: Path

    @staticmethod
    def path_for(runs_dir: str | Path, name: str) -> Path:
        """Return the folder of a run by its name. Raises RunError where the name is not that of a folder."""
        if name != Path(name).name or not name.isprintable() or len(name) > 200 or name.startswith("."):
            raise RunError(f"{name!r}: no name for a run; it is a folder's name, without slashes, in --runs-dir")
        return expand_path(runs_dir) / name

    @staticmethod
    def choose_folder(path: Path, *, numbered: bool = False) -> Path:
        """Return the folder of a new run.

        Args:
            path: The folder wanted.
            numbered: Whether a number is added to the name of a folder that exists.

        Raises:
            RunError: The folder exists already, or it cannot be made.
        """
        runs_dir, name = path.parent, path.name
        there = next((folder for folder in (runs_dir, *runs_dir.parents) if folder.exists()), Path("."))
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise RunError(
                f"cannot make the folder {runs_dir}: {there} is {'not writable' if there.is_dir() else 'a file'}"
            )
        number = 1
        while path.exists():
            if not numbered:
                raise RunError(f"{path} exists already; give another --name, or remove it")
            number += 1
            path = runs_dir / f"{name}-{number}"
        return path

    @classmethod
    def create(cls, wanted: Path, *, numbered: bool = False) -> "Run":
        """Make the folder that `choose_folder` returns; another process may have made it meanwhile."""
        while True:
            path = cls.choose_folder(wanted, numbered=numbered)
            try:
                path.mkdir(parents=True)
            except FileExistsError as error:
                if not path.exists():  # it is the folder above that is a file
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
        """Raises RunError while another process trains in this folder."""
        for inside in (self.checkpoints, self.path / "weights", *self.path.glob("*"), *self.path.glob("*/*")):
            if inside.is_symlink():
                raise RunError(
                    f"{inside}: a link; a run writes into its own folder alone, so put the file itself there"
                )
        with lock_file(self.checkpoints / ".lock", self.path) as mine:
            if not mine:
                raise RunError(f"{self.path}: another process is training in it; wait for it, or end it")
            yield

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """A run that is there. Raises RunError where it is not."""
        folder = expand_path(path)
        if not folder.is_dir():
            raise RunError(f"{folder}: there is no such run folder; `lenext list runs` shows those there are")
        if not (folder / "recipe.yaml").is_file():
            raise RunError(f"{folder}: not a run; there is no recipe.yaml in it")
        return cls(folder)

    @property
    def experiment(self) -> Experiment:
        """What recipe.yaml holds."""
        found = read_experiment(self.path / "recipe.yaml")
        return Experiment(**(found | {"recipe": Recipe().with_keys(found["recipe"])}))

    def is_finished(self, experiment: Experiment) -> bool:
        """Whether its results are those of all the epochs that the experiment asks for."""
        results = self.results
        done, recipe = results.get("epochs"), experiment.recipe
        ended = results.get("stopped_early") is True or (recipe.steps != "all" and results.get("steps") == recipe.steps)
        return isinstance(done, int) and (done >= recipe.epochs or ended)

    @property
    def test_reads(self) -> int:
        """How often the test set was read."""
        reads = self.results.get("test_reads", 0)
        return reads if isinstance(reads, int) else 0

    @property
    def environment(self) -> dict[str, Any]:
        """What environment.json holds, but for what cannot be in it."""
        found = self.read_json("environment.json")
        kinds: dict[str, type] = {"threads": int, "data_dir": str, "resumed": list, "versions": dict}
        right = {key: value for key, value in found.items() if isinstance(value, kinds.get(key, object))}
        threads = right.get("threads", 1)
        return right | ({} if isinstance(threads, int) and 1 <= threads <= 4096 else {"threads": 1})

    @property
    def results(self) -> dict[str, Any]:
        """What results.json holds; empty before the run has ended."""
        return self.read_json("results.json")

    @property
    def records(self) -> list[Record]:
        """The lines of results.csv."""
        path = self.path / "results.csv"
        if not path.is_file():
            return []
        try:
            lines = io.StringIO(read_regular(path, MOST_BYTES).decode(), newline="")
            return [to_record(row) for row in csv.DictReader(lines)]
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def weights(self, which: str = "best") -> Path:
        """The path of the best or the last weights."""
        return self.path / "weights" / f"{which}.safetensors"

    def read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            return dict(json.loads(read_regular(path, MOST_BYTES))) if path.is_file() else {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error

    def write_json(self, name: str, content: Any) -> None:
        write_atomic(self.path / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_records(self, records: Sequence[Record]) -> None:
        """results.csv; figures that not every run has have columns where they are there."""
        used = (name for name, usual in SOMETIMES.items() if any(getattr(one, name) != usual for one in records))
        names = (*COLUMNS, *used)
        self.write_csv("results.csv", names, ([asdict(record)[name] for name in names] for record in records))

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        write_atomic(self.path / name, csv_text(header, rows))


def to_record(row: dict[str, str]) -> Record:
    """A line of results.csv."""
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(Record).items():
        text = row.get(name) or ""
        number = next(one for one in (get_args(kind) or (kind,)) if one is not type(None))
        values[name] = number(text) if text else SOMETIMES.get(name)
    return Record(**values)


def find_runs(runs_dir: Path) -> list[Run]:
    """The runs in a folder, the newest last."""
    if not runs_dir.is_dir():
        return []
    recipes = sorted(runs_dir.glob("*/recipe.yaml"), key=lambda path: path.stat().st_mtime)
    return [Run(path.parent) for path in recipes]
