"""Trials: trainings that belong together, done one after another, each once, whatever stops or kills them."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lenext.comparison.forecast import Forecast
from lenext.foundation.errors import LenextError
from lenext.foundation.files import make_folder
from lenext.foundation.locks import lock_file
from lenext.models.user_network import is_user_network
from lenext.reporting.console import Console, format_duration
from lenext.runs.folder import Run
from lenext.runs.results import split_metrics
from lenext.training.experiment import Experiment
from lenext.training.metrics import Record
from lenext.training.notices import Samples, at_chance
from lenext.workflows.context import Context
from lenext.workflows.fingerprint import MAY_CHANGE
from lenext.workflows.resume import resume_run
from lenext.workflows.train import absolute_network, run_experiment
from lenext.workflows.use import val

LOCKS = ".locks"
LONGEST = 80  # letters of a folder's name
WAIT = 1.0  # seconds between looks at trials that other processes are at
Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One training: of which contestant, and all it is made from."""

    contestant: str
    experiment: Experiment

    @property
    def seed(self) -> int:
        return self.experiment.recipe.seed

    @property
    def name(self) -> str:
        """Of its folder."""
        plain = re.sub(r"[^\w.=-]+", "-", self.contestant).strip("-.")
        if plain != self.contestant or len(plain) > LONGEST:
            plain = f"{plain[:LONGEST]}-{hashlib.sha256(self.contestant.encode()).hexdigest()[:6]}"
        return f"{plain}-seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: a run, or why there is none."""

    trial: Trial
    run: Run | None = None
    failure: str = ""
    told: float | None = None
    """Its validation accuracy, where the run is on another machine."""

    @cached_property
    def results(self) -> dict[str, Any]:
        return self.run.results if self.run else {}

    @cached_property
    def records(self) -> list[Record]:
        return self.run.records if self.run else []

    @property
    def validation(self) -> float | None:
        """Accuracy of the best epoch."""
        return (self.results.get("validation") or {}).get("accuracy", self.told)

    @property
    def test(self) -> float | None:
        """Accuracy, where the test set was read."""
        return (self.results.get("test") or {}).get("accuracy")

    @property
    def seconds(self) -> float | None:
        """Of training."""
        return self.results.get("training_seconds")

    @cached_property
    def guesses(self) -> bool:
        """Whether its last epoch was no better than guessing among classes of the same size."""
        split = self.run.read_json("split.json") if self.run else {}
        classes, counts = len(split.get("classes", ())), split.get("samples", {})
        if classes < 2 or not self.records:
            return False
        samples = Samples(classes, 1 / classes, counts.get("train", 0), counts.get("validation", 0))
        return at_chance(self.records[-1], samples)

    def said(self) -> str:
        """In a line."""
        if self.failure:
            return f"failed: {self.failure}"
        parts = [f"{name} {value:.2%}" for name in ("validation", "test") if (value := getattr(self, name)) is not None]
        return ", ".join([*parts, *([f"{format_duration(self.seconds)} of training"] if self.seconds else [])])


def carry_out(
    trials: Sequence[Trial],
    folder: Path,
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
    read_test: bool = True,
    say: Say = lambda _: None,
    forecast: Forecast | None = None,
) -> list[Outcome]:
    """Do those that are not done, in this order, each in its folder below `folder`; a failure is an outcome, too.

    A trial that was killed or stopped goes on from its checkpoint; one that has ended is taken as it is. Several
    processes may do this at once: each takes trials that no other is at, and waits for the rest.
    """
    found: dict[int, Outcome] = {}
    forecast = forecast or Forecast({})
    waiting = list(range(len(trials)))
    while waiting:
        later = []
        for at in waiting:
            trial, begun = trials[at], time.perf_counter()
            there = done(trial, folder)
            outcome = there or attempt(trial, folder, data_dir, offline, read_test)
            if outcome is None:
                later.append(at)
                continue
            found[at] = outcome
            if not there and not outcome.failure:
                forecast.ended(trial.contestant, time.perf_counter() - begun)
            left = forecast.said(one.contestant for number, one in enumerate(trials) if number not in found)
            more = " (done before)" if there else left and f"; {left} left"
            say(f"[{len(found)}/{len(trials)}] {trial.contestant}, seed {trial.seed}: {outcome.said()}{more}")
        if len(later) == len(waiting):
            time.sleep(WAIT)
        waiting = later
    return [found[at] for at in range(len(trials))]


def done(trial: Trial, folder: Path) -> Outcome | None:
    """What a trial came to that has ended before."""
    run = Run(folder / trial.name)
    if not (run.path / "recipe.yaml").is_file():
        return None
    try:
        experiment = run.experiment
        if other := differing(experiment, trial.experiment):
            return Outcome(trial, failure=f"{run.path}: a run of other {', '.join(other)} lies there; remove it")
        return Outcome(trial, run) if run.is_finished(experiment) else None
    except LenextError as error:
        return Outcome(trial, failure=str(error))


def differing(there: Experiment, wanted: Experiment) -> list[str]:
    """In which keys a run's experiment is not the one that was wanted, but for what `train` settles by itself."""
    one, other = ({**asdict(some), **asdict(some.recipe)} for some in (there, wanted))
    for found in (one, other):
        found["options"] = str({key: list(v) if isinstance(v, tuple) else v for key, v in found["options"].items()})
        found["network"] = Path(found["network"]).name
    left = one.keys() - {*MAY_CHANGE, "recipe"}
    return sorted(key for key in left if one[key] != other[key] and "auto" not in (one[key], other[key]))


def attempt(trial: Trial, folder: Path, data_dir: str | Path | None, offline: bool, read_test: bool) -> Outcome | None:
    """Begin a trial or go on with it; None where another process is at it."""
    with taken(folder, trial.name) as mine:
        if not mine:
            return None
        try:
            return done(trial, folder) or Outcome(trial, trained(trial, folder, data_dir, offline, read_test))
        except (Exception, SystemExit) as error:  # a network of one's own may raise anything
            return Outcome(trial, failure=told_of(error))


def told_of(error: BaseException) -> str:
    """An error in a line; of one that is not ours with its kind."""
    said = " ".join(str(error).split())
    return said if isinstance(error, LenextError) else f"{type(error).__name__}: {said}"


def read_test_of(outcome: Outcome, data_dir: str | Path | None = None, offline: bool = False) -> Outcome:
    """The outcome with its test set read, once, by its best weights."""
    run = outcome.run
    if run is None or outcome.test is not None:
        return outcome
    own = outcome.trial.experiment.network if is_user_network(outcome.trial.experiment.network) else ""
    seen = val(run, split="test", network=own, data_dir=data_dir, offline=offline, quiet=True)
    run.write_json("results.json", run.results | {"test": split_metrics(seen, run.read_json("split.json")["classes"])})
    return Outcome(outcome.trial, run)


@contextmanager
def taken(folder: Path, name: str) -> Iterator[bool]:
    """Whether this process has the name to itself, as long as it is entered; a killed process lets go of it."""
    with lock_file(make_folder(folder / LOCKS) / f"{name}.lock", folder) as mine:
        yield mine


def trained(
    trial: Trial, folder: Path, data_dir: str | Path | None, offline: bool, read_test: bool,
    watch: Callable[[Record], None] | None = None,
) -> Run:  # fmt: skip
    """The trial's run, trained to its end; `watch` is called after each epoch, and may end it."""
    path, experiment = folder / trial.name, trial.experiment
    how: dict[str, Any] = {"report": False, "read_test": read_test, "watch": watch}
    context = Context(data_dir, offline, Console(lines=False))
    if (path / "recipe.yaml").is_file():
        own: dict[str, Any] = (
            {"network": absolute_network(experiment.network)} if is_user_network(experiment.network) else {}
        )
        run = Run.open(path)
        return resume_run(run, replace(run.experiment, **own), context, **how)
    if path.exists():
        shutil.rmtree(path)  # killed before it was a run
    return run_experiment(experiment, path, context, **how)
