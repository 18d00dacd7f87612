"""What a comparison is made of, settled once and kept with it, so that it can be gone on with and done again."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lenext.comparison.forecast import Forecast
from lenext.comparison.standings import Cost, Standing
from lenext.comparison.trials import Outcome, Trial, carry_out, done
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import expand_path, make_folder, provisional_folder, read_regular, sha256, write_atomic
from lenext.foundation.locks import lock_file
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.recipes import load_recipe

FILE, VERSION = "plan.json", 1
MOST_BYTES = 64 << 20  # of a plan


@dataclass(frozen=True)
class Contestant:
    """One of those compared. settings: in what it differs from the others, for the table."""

    name: str
    experiment: Experiment
    cost: Cost
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """That a training of it will take, by the few steps that were timed; None where none were."""
        if self.cost.epoch is None or not self.cost.batches:
            return None
        each, total = self.experiment.recipe.length(self.cost.batches)
        return self.cost.epoch * total / each


@dataclass(frozen=True)
class Plan:
    """request: what was asked for, by which the comparison is found again; seeds: of each contestant, from 0 on.

    left_out: what was asked for, too, but is not compared, with the reason.
    """

    request: Mapping[str, Any]
    contestants: tuple[Contestant, ...]
    seeds: int
    machine: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    def trials(self) -> list[Trial]:
        """Seed by seed, the contestants in turn, each round begun by the next one: load falls on all alike."""
        found = []
        for seed in range(self.seeds):
            first = seed % len(self.contestants)
            for one in self.contestants[first:] + self.contestants[:first]:
                recipe = replace(one.experiment.recipe, seed=seed)
                found.append(Trial(one.name, replace(one.experiment, recipe=recipe)))
        return found

    def time(self, folder: Path) -> dict[str, str]:
        """How long those of its trials will take that are not done in the folder, to be said before; where known."""
        left = [trial.contestant for trial in self.trials() if done(trial, folder) is None]
        said = self.forecast().said(left)
        return {"time": f"{said} for {len(left)} training{'s' * (len(left) > 1)}"} if said else {}

    def forecast(self) -> Forecast:
        """What is expected of each contestant."""
        return Forecast({one.name: one.seconds for one in self.contestants})

    def carry_out(self, folder: Path, **how: Any) -> list[Outcome]:
        """See `trials.carry_out`."""
        return carry_out(self.trials(), folder, forecast=self.forecast(), **how)

    def standings(self, outcomes: list[Outcome]) -> list[Standing]:
        """Each contestant with what came of its trials."""
        by_name: dict[str, list[Outcome]] = {one.name: [] for one in self.contestants}
        for outcome in outcomes:
            by_name[outcome.trial.contestant].append(outcome)
        return [
            Standing(one.name, tuple(sorted(by_name[one.name], key=lambda out: out.trial.seed)), one.cost, one.settings)
            for one in self.contestants
        ]

    def save(self, folder: Path) -> None:
        content = {"version": VERSION, **asdict(self)}
        write_atomic(folder / FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    @staticmethod
    def load(folder: Path) -> "Plan":
        """Raises RunError for a file that is broken or of another version."""
        path = folder / FILE
        try:
            found = json.loads(read_regular(path, MOST_BYTES))
            version = found.get("version")
            if version != VERSION:
                raise RunError(f"{path}: of version {version}, this lenext reads {VERSION}; give another --name")
            contestants = tuple(contestant(one) for one in found["contestants"])
            if not contestants:
                raise RunError(f"{path}: nothing is compared in it; give another --name")
            left_out = dict(found.get("left_out", {}))
            return Plan(dict(found["request"]), contestants, int(found["seeds"]), str(found["machine"]), left_out)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{path}: cannot be read ({' '.join(str(error).split())}); give another --name, or remove that folder"
            ) from error


def contestant(found: Mapping[str, Any]) -> Contestant:
    """As `save` wrote it."""
    given = dict(found["experiment"])
    known = {one.name for one in fields(Experiment)}
    recipe = Recipe().with_keys(given.pop("recipe"))
    experiment = Experiment(**{key: value for key, value in given.items() if key in known}, recipe=recipe)
    return Contestant(found["name"], experiment, Cost(**found["cost"]), dict(found["settings"]))


def settled(
    request: Mapping[str, Any], runs_dir: Path, name: str, otherwise: str, make: Callable[[], Plan]
) -> tuple[Path, Plan, bool]:
    """The folder and plan of a comparison: those of the same request where there are any, else new ones; whether they
    were there. One process at a time settles.

    Raises RunError where `name` is a folder with something else in it.
    """
    asked = json.loads(json.dumps(request))
    with provisional_folder(runs_dir), one_at_a_time(runs_dir):
        there = [runs_dir / name] if name else sorted(path.parent for path in runs_dir.glob(f"*/{FILE}"))
        for folder in there:
            plan = read_plan(folder, must=bool(name))
            if plan and plan.request == asked:
                return folder, plan, True
            if plan and name:
                differing = sorted(key for key in asked if plan.request.get(key) != asked[key])
                raise RunError(f"{folder}: another comparison is there (of other {', '.join(differing)}); give --name")
        plan = replace(make(), request=asked)
        wanted = Run.path_for(runs_dir, name) if name else runs_dir / otherwise
        folder = make_folder(Run.choose_folder(wanted, numbered=not name))
        plan.save(folder)
        return folder, plan, False


def state_of(data: str, recipe: str, *networks: str) -> list[str]:
    """What a request depends on besides its words: recipe files, the code of networks of one's own, files of data."""
    found = []
    code = [one.rpartition(":")[0] or one for one in networks if is_user_network(one)]
    for text in (*code, recipe):
        if text and (path := expand_path(text)).is_file():
            found.append(f"{path.name} {sha256(path)[:16]}")
    if (path := expand_path(data)).is_file():
        found.append(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}")
    return found


def data_of(recipe: str, data: str) -> str:
    """Return the data asked for, else those that a recipe's file names, else the digits."""
    return data or (load_recipe(recipe).get("data") if recipe else None) or Experiment.data


def check_seed(settings: Mapping[str, Any]) -> None:
    """Refuse the seed of one training; a comparison has those from 0 on. Raises ConfigurationError."""
    if "seed" in settings:
        raise ConfigurationError("seed: a comparison trains with the seeds 0, 1, ...; --seeds says how many")


def read_plan(folder: Path, *, must: bool) -> Plan | None:
    """The plan in a folder; None where there is none, or where it is broken and nobody asked for that one."""
    if not (folder / FILE).is_file():
        return None
    try:
        return Plan.load(folder)
    except LenextError:
        if must:
            raise
        return None


def spelled(request: Mapping[str, Any], *keys: str) -> list[str]:
    """Options of the command line: these keys of a request where they say something, and its settings."""
    found = []
    for key in keys:
        found += [f"--{key.replace('_', '-')}", str(request[key])] if request[key] else []
    for key, value in request["settings"].items():
        option = key.replace("_", "-")
        found += [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
    return found


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until no other process settles a comparison in this folder."""
    with lock_file(folder / ".settling.lock", folder, wait=True, keep=False):
        yield
