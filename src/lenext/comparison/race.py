"""`compare NETWORK NETWORK ...`: several networks on the same data, within the same budget, over several seeds."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lenext.comparison.budget import TRAINING, Budget
from lenext.comparison.costs import costs_of, jobs_of, machine_of
from lenext.comparison.plan import Contestant, Plan, check_seed, data_of, settled, spelled, state_of
from lenext.comparison.standings import Cost, Standing, guessing, ranked, sentences, tell, write_csv, write_page
from lenext.comparison.trials import Outcome
from lenext.data.dataset import Dataset
from lenext.data.images import ImageFiles
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe, group_of
from lenext.training.recipes import OF_NETWORKS, PHOTOGRAPHS, load_recipe
from lenext.workflows.context import Context
from lenext.workflows.job import Job
from lenext.workflows.prepare import load_data, merge_experiment_keys, resolve_image_size
from lenext.workflows.train import absolute_path, default_name, with_absolute_paths

SHARED = ("Split", "Sampling", "Augmentation")  # groups of keys that all contestants have alike
ALSO_SHARED = ("epochs", "steps", "batch_size", "early_stopping", "evaluate_training", "label_smoothing")
SHIFT = 8  # images are shifted by up to this part of their side; by half of it where a mirror changes the class


@dataclass(frozen=True)
class Race:
    """A race that was run: its folder with the page and the table, and the contestants, the best first."""

    path: Path
    standings: tuple[Standing, ...]
    sentences: tuple[str, ...]

    @property
    def page(self) -> Path:
        return self.path / "race.html"


def race(
    *networks: str,
    data: str = "",
    seeds: int = 3,
    budget: str = "",
    recipe: str = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    label_column: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **given: Any,
) -> Race:
    """Train several networks on the same data, and say which is better, by how much, and at what cost.

    All have the same split, order and augmentation, and batches of the same size; optimizer, rates and initialization
    are each network's own, unless `recipe` (a name of RECIPES) or keys of a Recipe say otherwise.

    data: a name or a path; without it that of the recipe's file, else the digits
    seeds: how many trainings each has; budget: of each training, as a time (90s, 5m, 1h), turned into steps once and
    kept with the race, or multiply-adds of training (30T, 2P); without it, the recipe's epochs
    name, runs_dir: the race's folder; without a name it is race-DATA with the next free suffix

    The same request again goes on with the race that is there, and leaves what is finished alone. A contestant that
    fails is reported. Raises ConfigurationError for what cannot be raced.
    """
    check(networks, seeds)
    limit = Budget.parse(budget) if budget else None
    for key in ("epochs", "steps"):
        if limit and key in given:
            raise ConfigurationError(f"budget and {key} both say how long; give one of them")
    check_seed(given)
    if given.get("batch_size") == "auto":
        raise ConfigurationError("batch_size=auto: all contestants have the same; give a number")
    base, data = (load_recipe(recipe) if recipe else {}), data_of(recipe, data)
    request = {
        "networks": list(networks), "data": absolute_path(data), "seeds": seeds,
        "state": state_of(data, recipe, *networks), "budget": budget, "recipe": recipe,
        "label_column": label_column, "settings": {key: given[key] for key in sorted(given)},
    }  # fmt: skip
    with Console(quiet) as console:

        def make() -> Plan:
            experiments, whole = prepared(networks, data, base, label_column, given, data_dir, offline)
            jobs = jobs_of(experiments, whole, data_dir, offline)
            timed = limit is not None and limit.kind == "seconds"
            console.print(f"measuring what {len(jobs)} contestants cost, in turn")
            costs = costs_of(jobs, "in turn" if timed else "roughly")
            return Plan({}, tuple(entered(experiments, jobs, costs, limit, budget)), seeds, machine_of(jobs))

        otherwise = default_name("", Experiment(network="race", data=data))
        folder, plan, was_there = settled(request, expand_path(runs_dir), name, otherwise, make)
        console.print_facts(told(plan, folder, limit) | plan.time(folder))
        console.print("going on with what is there\n" if was_there else "")
        outcomes = plan.carry_out(folder, data_dir=data_dir, offline=offline, say=console.print)
        found = concluded(plan, folder, outcomes, request, limit)
        tell(found.standings, found.sentences, console.print)
        console.print(f"\npage: {found.page}")
    return found


def check(networks: Sequence[str], seeds: int) -> None:
    if len(networks) < 2:
        raise ConfigurationError("a race needs two networks or more; `lenext list models` shows those there are")
    twice = sorted({one for one in networks if networks.count(one) > 1})
    if twice:
        raise ConfigurationError(f"{twice[0]} is named twice; each contestant once, --seeds repeats them all")
    if seeds < 1:
        raise ConfigurationError(f"seeds={seeds}: at least 1")


def prepared(
    networks: Sequence[str], data: str, base: Mapping[str, Any], label_column: str, given: Mapping[str, Any],
    data_dir: str | Path | None, offline: bool,
) -> tuple[dict[str, Experiment], Dataset]:  # fmt: skip
    """Each network's experiment, with all in common that has to be, and the data. base: what the recipe sets."""
    found = {}
    for network in networks:
        keys = merge_experiment_keys(base, {"network": network, "data": data, "label_column": label_column})
        found[network] = resolve_image_size(Experiment(**keys, recipe=Recipe().with_keys(own_keys(network))))
    whole = load_data(next(iter(found.values())), Context(data_dir, offline))
    side, files = min(whole.shape[1:]), isinstance(whole.train.images, ImageFiles)
    common = {"random_crop": PHOTOGRAPHS["random_crop"]} if files else {
        "shift": side // (SHIFT if whole.flip_invariant else 2 * SHIFT)
    }  # fmt: skip
    for network, experiment in found.items():
        changed = experiment.recipe.with_keys(common).with_keys(base.get("recipe", {})).with_keys(given)
        found[network] = with_absolute_paths(resolve_image_size(replace(experiment, recipe=changed.with_defaults())))
    return found, whole


def own_keys(network: str) -> dict[str, Any]:
    """What a network's own recipe says of how it learns, without what all contestants have alike."""
    own = OF_NETWORKS.get(network, {})
    return {key: value for key, value in own.items() if group_of(key) not in SHARED and key not in ALSO_SHARED}


def entered(
    experiments: Mapping[str, Experiment], jobs: Mapping[str, Job], costs: Mapping[str, Cost], limit: Budget | None,
    budget: str,
) -> list[Contestant]:  # fmt: skip
    """The contestants, each with as many steps as the budget pays for. Raises ConfigurationError where that is not
    an epoch for all of them."""
    found, least = [], []
    for name, experiment in experiments.items():
        cost, job = costs[name], jobs[name]
        if limit is None:
            found.append(Contestant(name, experiment, cost))
            continue
        batches = job.recipe.accumulate_batches  # of an update
        step, adds = (
            (cost.step or 1.0) * batches,
            float(TRAINING * cost.multiply_adds * job.settings.sampling.batch_size * batches),
        )
        steps, each = limit.steps(step, adds), job.settings.schedule.length.updates_per_epoch
        if steps < each:
            least.append((each * (step if limit.kind == "seconds" else adds), name, limit.of_steps(each, step, adds)))
            continue
        recipe = experiment.recipe.with_keys({"steps": steps, "epochs": -(-steps // each)})
        found.append(Contestant(name, replace(experiment, recipe=recipe), cost))
    if least:
        _, name, enough = max(least)
        raise ConfigurationError(
            f"budget={budget}: too small for one epoch of {name}; the least that works for all is about {enough}, or "
            "give fewer --train-samples"
        )
    return found


def told(plan: Plan, folder: Path, limit: Budget | None) -> dict[str, str]:
    """What will be done."""
    recipes = [one.experiment.recipe for one in plan.contestants]
    spans = [f"{one.name} {steps_said(one)}" for one in plan.contestants]
    return {
        "race": str(folder),
        "contestants": ", ".join(one.name for one in plan.contestants),
        "seeds": f"{plan.seeds} each, {plan.seeds * len(plan.contestants)} trainings",
        "budget": (limit.said() + "; " if limit else "") + ", ".join(spans),
        "in common": f"split, order, batches of {recipes[0].batch_size}, flip {recipes[0].flip}, shift "
        f"{recipes[0].shift} px, random_crop {recipes[0].random_crop:g}",
    }


def steps_said(one: Contestant) -> str:
    recipe = one.experiment.recipe
    return f"{recipe.epochs} epochs" if recipe.steps == "all" else f"{recipe.steps:,} steps"


def concluded(
    plan: Plan, folder: Path, outcomes: list[Outcome], request: Mapping[str, Any], limit: Budget | None
) -> Race:
    """The standings, as a page and a table beside the runs."""
    recipe = plan.contestants[0].experiment.recipe
    order = ranked(plan.standings(outcomes), "validation")
    said = [*sentences(order, "test"), *guessing(order)]
    if recipe.select_on_test:
        said.insert(0, "the test set was measured after every epoch and chose (select_on_test), so its figures flatter")
    write_csv(order, folder / "race.csv")
    facts = [*told(plan, folder, limit).items(), ("machine", plan.machine)]
    write_page(
        folder / "race.html", order, title=f"{len(order)} networks on {Path(str(request['data'])).name}", part="test",
        facts=facts, notes=said, command=command_of(request),
        headline=bool(order[0].figures("validation")) and not recipe.select_on_test,
    )  # fmt: skip
    return Race(folder, tuple(order), tuple(said))


def command_of(request: Mapping[str, Any]) -> str:
    """The command line that asks for the same."""
    parts = ["lenext", "compare", *request["networks"]]
    parts += spelled(request, "data", "seeds", "budget", "recipe", "label_column")
    return shlex.join(parts)
