"""`compare NETWORK NETWORK ...`: a race of networks on the same data, within the same budget, over several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lenext.comparison.engine import run_comparison
from lenext.comparison.plan import Contestant, Plan, check_seeds, choose_data
from lenext.comparison.specification import Comparison, Specification
from lenext.comparison.standings import Standing, compare_neighbours, name_guessing
from lenext.data import shown_source
from lenext.data.dataset import Dataset
from lenext.data.image_files import ImageFiles
from lenext.foundation.errors import ConfigurationError
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe, group_of
from lenext.training.recipes import OF_NETWORKS, PHOTOGRAPHS, load_recipe
from lenext.workflows.budget import FORWARD_PASSES_PER_STEP, Budget
from lenext.workflows.context import Context
from lenext.workflows.costs import Timing
from lenext.workflows.fingerprint import fingerprint_sources
from lenext.workflows.job import Job
from lenext.workflows.prepare import absolute_path, merge_experiment_keys, resolve_experiment, with_absolute_paths
from lenext.workflows.train import default_name

SHARED_GROUPS = ("Split", "Sampling", "Augmentation")  # of recipe keys that all contestants have alike
SHARED_KEYS = ("epochs", "steps", "batch_size", "early_stopping", "evaluate_training", "label_smoothing")
SHIFT_DIVISOR = 8  # images are shifted by up to this part of their side; by half of it if a mirror changes the class


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
    **settings: Any,
) -> Comparison:
    """Train several networks on the same data, and report which is better, by how much, and at what cost.

    All have the same split, order, augmentation and batch size. Optimizer, rates and initialization are each network's
    own, unless the recipe or a setting overrides them. The same request again resumes its race, and keeps the trials
    that are done. A contestant that fails is reported.

    Args:
        networks: Two or more names of MODELS, or FILE.py:Class.
        data: A name or a path; by default that of the recipe file, else the digits.
        seeds: The number of trainings of each network.
        budget: Of each training: a time (90s, 5m, 1h), turned into steps once and kept with the race, or multiply-adds
            (30T, 2P). By default the recipe's epochs.
        recipe: A name of RECIPES or a YAML file, for all networks.
        name: The folder's name; by default race-DATA with the next free suffix.
        runs_dir: Where the folder goes.
        label_column: As for `load`, like `data_dir` and `offline`.
        data_dir: Where published data are.
        offline: Never use the network.
        quiet: Print nothing.
        settings: Recipe keys, for all networks.

    Raises:
        ConfigurationError: These networks cannot be raced.
    """
    data = absolute_path(choose_data(recipe, data))
    specification = Race(networks, data, seeds, budget, recipe, label_column, settings=settings)
    return run_comparison(specification, runs_dir, name, Context(data_dir, offline, Console(quiet)))


@dataclass(frozen=True)
class Race(Specification):
    """Several networks with all else alike. Its fields are the arguments of `race`."""

    networks: tuple[str, ...]
    data: str
    seeds: int = 3
    budget: str = ""
    recipe: str = ""
    label_column: str = ""
    kind, verb = "race", "compare"

    def __post_init__(self) -> None:
        if len(self.networks) < 2:
            raise ConfigurationError("a race needs two networks or more; `lenext list models` lists them")
        repeated = sorted({network for network in self.networks if self.networks.count(network) > 1})
        if repeated:
            raise ConfigurationError(f"{repeated[0]} is named twice; name it once, --seeds repeats all contestants")
        check_seeds(self.seeds, self.settings)
        for key in ("epochs", "steps"):
            if self.limit and key in self.settings:
                raise ConfigurationError(f"budget and {key} both say how long; give one of them")
        if self.settings.get("batch_size") == "auto":
            raise ConfigurationError("batch_size=auto: all contestants need the same; give a number")

    def request(self) -> dict[str, Any]:
        return super().request() | {"sources": fingerprint_sources(self.data, self.recipe, *self.networks)}

    @property
    def limit(self) -> Budget | None:
        return Budget.parse(self.budget) if self.budget else None

    def timing(self) -> Timing:
        return "in turn" if self.limit and self.limit.kind == "seconds" else "roughly"

    def title(self) -> str:
        return f"{len(self.networks)} networks on {shown_source(self.data)}"

    def default_name(self) -> str:
        return default_name("", Experiment(network="race", data=self.data))

    def first_experiment(self) -> Experiment:
        return next(iter(self.experiments().values()))

    def experiments(self) -> dict[str, Experiment]:
        """Return each network's experiment with the keys that its recipe sets for how it learns."""
        keys = load_recipe(self.recipe) if self.recipe else {}
        experiments = {}
        for network in self.networks:
            outer = {"network": network, "data": self.data, "label_column": self.label_column}
            recipe = Recipe().with_keys(own_keys(network))
            experiments[network] = resolve_experiment(Experiment(**merge_experiment_keys(keys, outer), recipe=recipe))
        return experiments

    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        shared: dict[str, Any] = {
            "shift": min(data.shape[1:]) // (SHIFT_DIVISOR if data.flip_invariant else 2 * SHIFT_DIVISOR)
        }
        if isinstance(data.train.images, ImageFiles):
            shared = {"random_crop": PHOTOGRAPHS["random_crop"]}
        keys = load_recipe(self.recipe).get("recipe", {}) if self.recipe else {}
        contestants = []
        for network, experiment in self.experiments().items():
            recipe = experiment.recipe.with_keys(shared).with_keys(keys).with_keys(self.settings)
            experiment = with_absolute_paths(resolve_experiment(replace(experiment, recipe=recipe)))
            contestants.append(Contestant(network, experiment))
        return contestants, {}

    def within_budget(self, contestants: Sequence[Contestant], jobs: Mapping[str, Job]) -> list[Contestant]:
        """Return the contestants with as many steps as the budget pays for.

        Raises:
            ConfigurationError: It does not pay for one epoch of each.
        """
        if not self.limit:
            return list(contestants)
        limited, too_small = [], []
        for contestant in contestants:
            cost, job = contestant.cost, jobs[contestant.name]
            batches = job.recipe.accumulate_batches  # of an update
            multiply_adds = float(
                FORWARD_PASSES_PER_STEP * cost.multiply_adds * job.settings.sampling.batch_size * batches
            )
            step_cost = self.limit.cost((cost.step or 1.0) * batches, multiply_adds)
            steps, per_epoch = self.limit.count_steps(step_cost), job.settings.schedule.length.updates_per_epoch
            if steps < per_epoch:
                too_small.append((per_epoch * step_cost, contestant.name, self.limit.format_cost(per_epoch, step_cost)))
                continue
            keys = {"steps": steps, "epochs": math.ceil(steps / per_epoch)}
            if job.settings.sampling.feature_views:
                keys["feature_views"] = 0  # as its steps were timed
            recipe = contestant.experiment.recipe.with_keys(keys)
            limited.append(replace(contestant, experiment=replace(contestant.experiment, recipe=recipe)))
        if too_small:
            _, network, enough = max(too_small)
            raise ConfigurationError(
                f"budget={self.budget}: too small for one epoch of {network}; the least that works for all is about "
                f"{enough}, or give fewer --train-samples"
            )
        return limited

    def facts(self, plan: Plan) -> dict[str, str]:
        recipe = plan.contestants[0].experiment.recipe
        lengths = ", ".join(f"{item.name} {format_length(item.experiment.recipe)}" for item in plan.contestants)
        return {
            "contestants": ", ".join(self.networks),
            "seeds": f"{plan.seeds} each, {plan.seeds * len(plan.contestants)} trainings",
            "budget": (f"{self.limit.describe()}; " if self.limit else "") + lengths,
            "in common": f"split, order, batches of {recipe.batch_size}, flip {recipe.flip}, shift {recipe.shift} px, "
            f"random_crop {recipe.random_crop:g}",
        }

    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        sentences = [*compare_neighbours(standings, "test"), *name_guessing(standings)]
        if standings[0].outcomes[0].trial.experiment.recipe.select_on_test:
            sentences.insert(
                0, "the test set was measured after every epoch and chose (select_on_test), so its figures flatter"
            )
        return sentences


def own_keys(network: str) -> dict[str, Any]:
    """Return the keys of a network's own recipe, without those that all contestants have alike."""
    keys = OF_NETWORKS.get(network, {})
    return {key: keys[key] for key in keys if group_of(key) not in SHARED_GROUPS and key not in SHARED_KEYS}


def format_length(recipe: Recipe) -> str:
    return f"{recipe.epochs} epochs" if recipe.steps == "all" else f"{recipe.steps:,} steps"
