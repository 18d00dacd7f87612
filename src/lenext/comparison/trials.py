"""Trials: the trainings of a comparison. Each is done once, whatever stops or kills the process."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from lenext.workflows.evaluate import val
from lenext.workflows.fingerprint import differing_keys
from lenext.workflows.prepare import absolute_network
from lenext.workflows.resume import resume_run
from lenext.workflows.train import run_experiment

LOCKS_FOLDER = ".locks"
MAX_NAME_CHARACTERS = 80
POLL_SECONDS = 1.0  # between looks at trials that other processes train


@dataclass(frozen=True)
class Trial:
    """One training of a comparison."""

    contestant: str
    experiment: Experiment  # all that the training is made from, its seed included
    number: int | None = None  # in a search; it names the trial's folder

    @property
    def seed(self) -> int:
        return self.experiment.recipe.seed

    @property
    def name(self) -> str:
        """The name of its folder."""
        if self.number is not None:
            return name_numbered(self.number)
        plain = re.sub(r"[^\w.=-]+", "-", self.contestant).strip("-.")
        if plain != self.contestant or len(plain) > MAX_NAME_CHARACTERS:
            digest = hashlib.sha256(self.contestant.encode()).hexdigest()[:6]
            plain = f"{plain[:MAX_NAME_CHARACTERS]}-{digest}"
        return f"{plain}-seed{self.seed}"


def name_numbered(number: int) -> str:
    return f"trial-{number:04d}"


@dataclass(frozen=True)
class Outcome:
    """The result of a trial: a run, a failure, or, if another machine trained it, an accuracy."""

    trial: Trial
    run: Run | None = None
    failure: str = ""
    remote_validation: float | None = None  # accuracy
    remote_place: str = ""  # the other machine, and the folder there

    @cached_property
    def results(self) -> dict[str, Any]:
        return self.run.results if self.run else {}

    @cached_property
    def records(self) -> list[Record]:
        return self.run.records if self.run else []

    @property
    def validation(self) -> float | None:
        """The validation accuracy of the best epoch."""
        return (self.results.get("validation") or {}).get("accuracy", self.remote_validation)

    @property
    def test(self) -> float | None:
        """The test accuracy, if the test set was read."""
        return (self.results.get("test") or {}).get("accuracy")

    @property
    def seconds(self) -> float | None:
        """The training time in seconds."""
        return self.results.get("training_seconds")

    @cached_property
    def is_guessing(self) -> bool:
        """Whether the last epoch was no better than guessing among classes of equal size."""
        split = self.run.read_json("split.json") if self.run else {}
        classes, counts = len(split.get("classes", ())), split.get("samples", {})
        if classes < 2 or not self.records:
            return False
        samples = Samples(classes, 1 / classes, counts.get("train", 0), counts.get("validation", 0))
        return at_chance(self.records[-1], samples)

    def describe(self) -> str:
        if self.failure:
            return f"failed: {self.failure}"
        parts = [f"{name} {value:.2%}" for name in ("validation", "test") if (value := getattr(self, name)) is not None]
        return ", ".join([*parts, *([f"{format_duration(self.seconds)} of training"] if self.seconds else [])])


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    context: Context,
    *,
    read_test: bool = True,
    forecast: Forecast | None = None,
) -> list[Outcome]:
    """Do the trials that are not done yet, in this order; a failure is an outcome, too.

    A trial that was killed or stopped resumes from its checkpoint. Several processes may do this at once: each takes
    trials that are free, and waits for the rest. `read_test` has each trial measure the test set at its end.
    """
    outcomes: dict[int, Outcome] = {}
    forecast = forecast or Forecast({})
    waiting = list(range(len(trials)))
    while waiting:
        busy = []
        for index in waiting:
            trial, start = trials[index], time.perf_counter()
            earlier = find_outcome(trial, folder)
            outcome = earlier or try_trial(trial, folder, context, read_test)
            if outcome is None:
                busy.append(index)
                continue
            outcomes[index] = outcome
            if not earlier and not outcome.failure:
                forecast.record_time(trial.contestant, time.perf_counter() - start)
            remaining = forecast.format_remaining(
                other.contestant for number, other in enumerate(trials) if number not in outcomes
            )
            suffix = " (done before)" if earlier else remaining and f"; {remaining} left"
            context.console.print(
                f"[{len(outcomes)}/{len(trials)}] {trial.contestant}, seed {trial.seed}: {outcome.describe()}{suffix}"
            )
        if len(busy) == len(waiting):
            time.sleep(POLL_SECONDS)
        waiting = busy
    return [outcomes[index] for index in range(len(trials))]


def find_outcome(trial: Trial, folder: Path) -> Outcome | None:
    """Return the outcome of a trial that has ended before."""
    run = Run(folder / trial.name)
    if not (run.path / "recipe.yaml").is_file():
        return None
    try:
        experiment = run.experiment
        if keys := differing_keys(experiment, trial.experiment):
            failure = f"{run.path} was trained with a different {', '.join(keys)}; remove it, or give another --name"
            return Outcome(trial, failure=failure)
        return Outcome(trial, run) if run.is_finished(experiment) else None
    except LenextError as error:
        return Outcome(trial, failure=str(error))


def try_trial(trial: Trial, folder: Path, context: Context, read_test: bool) -> Outcome | None:
    """Start or resume a trial; None if another process trains it."""
    with lock_trial(folder, trial.name) as is_ours:
        if not is_ours:
            return None
        try:
            return find_outcome(trial, folder) or Outcome(trial, train_trial(trial, folder, context, read_test))
        except (Exception, SystemExit) as error:  # a user-defined network may raise anything
            return Outcome(trial, failure=format_error(error))


def format_error(error: BaseException) -> str:
    """Return an error in one line, with its class unless it is lenext's own."""
    text = " ".join(str(error).split())
    return text if isinstance(error, LenextError) else f"{type(error).__name__}: {text}"


def read_test_set(outcome: Outcome, context: Context) -> Outcome:
    """Return the outcome with its test set read, once, by its best weights."""
    run, network = outcome.run, outcome.trial.experiment.network
    if run is None or outcome.test is not None:
        return outcome
    evaluation = val(
        run, split="test", network=network if is_user_network(network) else "", data_dir=context.data_dir,
        offline=context.offline, quiet=True,
    )  # fmt: skip
    figures = split_metrics(evaluation, run.read_json("split.json")["classes"])
    run.write_json("results.json", run.results | {"test": figures})
    return Outcome(outcome.trial, run)


@contextmanager
def lock_trial(folder: Path, name: str) -> Iterator[bool]:
    """Yield whether this process alone may train the trial of this name; a killed process releases its lock."""
    with lock_file(make_folder(folder / LOCKS_FOLDER) / f"{name}.lock", folder) as is_ours:
        yield is_ours


def train_trial(
    trial: Trial, folder: Path, context: Context, read_test: bool, watch: Callable[[Record], None] | None = None
) -> Run:
    """Train a trial to its end, from its checkpoint if it has one; `watch` is called after each epoch."""
    path, experiment = folder / trial.name, trial.experiment
    with Console(lines=False) as console:
        context = replace(context, console=console)
        if not (path / "recipe.yaml").is_file():
            if path.exists():
                shutil.rmtree(path)  # killed before it was a run
            return run_experiment(experiment, path, context, report=False, read_test=read_test, watch=watch)
        run = Run.open(path)
        network = absolute_network(experiment.network) if is_user_network(experiment.network) else experiment.network
        experiment = replace(run.experiment, network=network)  # a user-defined network's file may have moved
        return resume_run(run, experiment, context, report=False, read_test=read_test, watch=watch)
