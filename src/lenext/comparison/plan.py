"""The plan of a comparison: made once and kept with it, so that it can be resumed and repeated."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lenext.comparison.forecast import Forecast
from lenext.comparison.standings import Standing
from lenext.comparison.trials import Outcome, Trial, find_outcome
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import read_regular, write_atomic
from lenext.foundation.locks import lock_file
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.recipes import load_recipe
from lenext.workflows.costs import Cost

PLAN_FILE, PLAN_VERSION = "plan.json", 2
MAX_PLAN_BYTES = 64 << 20
NOT_MEASURED = Cost(0, 0, 0, 0.0)


@dataclass(frozen=True)
class Contestant:
    """One of those compared."""

    name: str
    experiment: Experiment  # each trial has its own seed
    cost: Cost = NOT_MEASURED
    settings: Mapping[str, Any] = field(default_factory=dict)  # how it differs from the others, for the table

    @property
    def seconds(self) -> float | None:
        """The expected time of one training, in seconds; None if no steps were timed."""
        if self.cost.epoch is None or not self.cost.batches:
            return None
        length = self.experiment.recipe.length(self.cost.batches)
        return self.cost.epoch * length.updates / length.updates_per_epoch


@dataclass(frozen=True)
class Plan:
    """The contestants of a comparison and what they cost."""

    request: Mapping[str, Any]  # the same request finds the same comparison again
    contestants: tuple[Contestant, ...]
    seeds: int  # the number of trainings of each contestant, with the seeds 0, 1, ...
    machine: str = ""  # where the costs were measured
    left_out: Mapping[str, str] = field(default_factory=dict)  # what is not compared, with the reason

    def trials(self) -> list[Trial]:
        """List the trials seed by seed, each time from the next contestant on, so that load affects all alike."""
        trials = []
        for seed in range(self.seeds):
            first = seed % len(self.contestants)
            for contestant in self.contestants[first:] + self.contestants[:first]:
                recipe = replace(contestant.experiment.recipe, seed=seed)
                trials.append(Trial(contestant.name, replace(contestant.experiment, recipe=recipe)))
        return trials

    def forecast(self) -> Forecast:
        return Forecast({contestant.name: contestant.seconds for contestant in self.contestants})

    def format_time(self, folder: Path) -> str:
        """Return how long the trials take that are not done in the folder; empty if it is unknown."""
        waiting = [trial.contestant for trial in self.trials() if find_outcome(trial, folder) is None]
        remaining = self.forecast().format_remaining(waiting)
        return remaining and f"{remaining} for {len(waiting)} training{'s' * (len(waiting) > 1)}"

    def standings(self, outcomes: Sequence[Outcome]) -> list[Standing]:
        """Return each contestant with its outcomes, by seed."""
        by_name: dict[str, list[Outcome]] = {contestant.name: [] for contestant in self.contestants}
        for outcome in sorted(outcomes, key=lambda outcome: outcome.trial.seed):
            by_name[outcome.trial.contestant].append(outcome)
        return [
            Standing(contestant.name, tuple(by_name[contestant.name]), contestant.cost, contestant.settings)
            for contestant in self.contestants
        ]

    def save(self, folder: Path) -> None:
        content = {"version": PLAN_VERSION, **asdict(self)}
        write_atomic(folder / PLAN_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def load(folder: Path) -> "Plan":
        """Read the plan in a folder. Raises RunError for a file that is broken or of another version."""
        path = folder / PLAN_FILE
        try:
            content = json.loads(read_regular(path, MAX_PLAN_BYTES))
            version = content.get("version")
            if version != PLAN_VERSION:
                raise RunError(f"{path}: of version {version}, this lenext reads {PLAN_VERSION}; give another --name")
            contestants = tuple(read_contestant(item) for item in content["contestants"])
            if not contestants:
                raise RunError(f"{path}: nothing is compared in it; give another --name")
            left_out = dict(content.get("left_out", {}))
            return Plan(dict(content["request"]), contestants, int(content["seeds"]), str(content["machine"]), left_out)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); give another --name, or remove that folder"
            ) from error


def read_contestant(content: Mapping[str, Any]) -> Contestant:
    keys = dict(content["experiment"])
    names = {key.name for key in fields(Experiment)}
    recipe = Recipe().with_keys(keys.pop("recipe"))
    experiment = Experiment(**{key: value for key, value in keys.items() if key in names}, recipe=recipe)
    return Contestant(content["name"], experiment, Cost(**content["cost"]), dict(content["settings"]))


def find_plan(request: Mapping[str, Any], runs_dir: Path, name: str) -> tuple[Path, Plan] | None:
    """Return the folder and plan of the same request; with a name, in that folder alone.

    Raises:
        RunError: The folder of that name has another comparison in it, or a broken plan.
    """
    for path in [runs_dir / name / PLAN_FILE] if name else sorted(runs_dir.glob(f"*/{PLAN_FILE}")):
        if not path.is_file():
            continue
        folder = path.parent
        try:
            plan = Plan.load(folder)
        except LenextError:
            if name:
                raise
            continue  # nobody asked for that one
        if plan.request == request:
            return folder, plan
        if name:
            keys = sorted(key for key in request if plan.request.get(key) != request[key])
            raise RunError(f"{folder}: holds another comparison (different {', '.join(keys)}); give another --name")
    return None


@contextmanager
def lock_planning(folder: Path) -> Iterator[None]:
    """Wait until no other process plans a comparison in this folder."""
    with lock_file(folder / ".settling.lock", folder, wait=True, keep=False):
        yield


def choose_data(recipe: str, data: str) -> str:
    """Return the data asked for, else those that a recipe file names, else the digits."""
    return data or (load_recipe(recipe).get("data") if recipe else None) or Experiment.data


def check_seeds(seeds: int, settings: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for no training, or for the seed of a single one."""
    if seeds < 1:
        raise ConfigurationError(f"seeds={seeds}: at least 1")
    if "seed" in settings:
        raise ConfigurationError("seed: a comparison trains with the seeds 0, 1, ...; --seeds sets their number")
