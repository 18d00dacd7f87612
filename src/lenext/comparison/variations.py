"""Variations of a network: all combinations of options, or one change at a time."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lenext.comparison.plan import Contestant, Plan, check_seeds
from lenext.comparison.specification import Specification
from lenext.comparison.standings import Standing, name_guessing
from lenext.comparison.statistics import describe_difference, paired_difference
from lenext.comparison.values import Choices, apply_values, format_value, format_values, parse_choices, value_in
from lenext.data import shown_source
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.training.experiment import Experiment
from lenext.training.settings import split_by_recipe
from lenext.workflows.fingerprint import fingerprint_sources
from lenext.workflows.prepare import build_experiment, with_absolute_paths
from lenext.workflows.train import default_name

MAX_VARIATIONS = 500
BASE = "base"
SAME_AS_BASE = "the network is like this already, so the base shows it"


@dataclass(frozen=True)
class Variations(Specification):
    """A network beside variations of it. Its fields are the arguments of `vary`."""

    network: str
    option: tuple[str, ...]
    data: str
    search: str = "grid"
    seeds: int = 1
    recipe: str = ""
    label_column: str = ""
    kind, verb = "vary", "vary"
    part = "validation"
    baseline = BASE

    def __post_init__(self) -> None:
        check_seeds(self.seeds, self.settings)
        if not self.choices:
            raise ConfigurationError("vary what? Give --option KEY=V1,V2, e.g. --option depths=3,5,7")
        if self.search != "optuna" and (ranges := [choice.key for choice in self.choices if choice.range]):
            raise ConfigurationError(f"{ranges[0]}: a range is for --search optuna; separate values by commas")

    def request(self) -> dict[str, Any]:
        return super().request() | {"sources": fingerprint_sources(self.data, self.recipe, self.network)}

    @property
    def choices(self) -> list[Choices]:
        return parse_choices(self.network, self.option)

    def title(self) -> str:
        return f"{self.network}, varied"

    def default_name(self) -> str:
        network = f"{self.kind}-{self.network.rpartition('/')[2]}"
        return default_name("", Experiment(network=network, data=self.data)).replace(":", "-")

    def first_experiment(self) -> Experiment:
        """Return the base: the unchanged network with its own recipe."""
        outer = {"network": self.network, "data": self.data, "label_column": self.label_column}
        return with_absolute_paths(apply_values(build_experiment(self.recipe, outer, self.settings), (), {}))

    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        base = self.first_experiment()
        check_has_validation(base, data)
        variations, left_out = combine_choices(base, self.choices, self.search)
        contestants = []
        for name, values in variations.items():
            try:
                experiment = apply_values(base, self.choices, {} if name == BASE else values)
            except ConfigurationError as error:
                left_out[name] = str(error)
                continue
            shown = {key: format_value(value) for key, value in values.items()}
            contestants.append(Contestant(name, experiment, settings=shown))
        return contestants, left_out

    def facts(self, plan: Plan) -> dict[str, str]:
        recipe = plan.contestants[0].experiment.recipe
        design = "all combinations" if self.search == "grid" else "one change at a time"
        return {
            "variations": f"{len(plan.contestants)} of {self.network} on {shown_source(self.data)}, {design}",
            "each": f"{plan.seeds} seed{'s' if plan.seeds > 1 else ''}, {recipe.epochs} epochs; judged on validation",
        }

    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        base = next(standing for standing in standings if standing.name == BASE)
        return [*describe_effects(standings, base), *name_guessing(standings)]


def check_has_validation(base: Experiment, data: Dataset) -> None:
    """Raise ConfigurationError if there is no validation set to judge variations on."""
    if base.recipe.select_on_test or split_by_recipe(data, base.recipe).validation is None:
        raise ConfigurationError(
            "variations are judged on validation images; leave out validation_fraction=0 and select_on_test"
        )


def combine_choices(
    base: Experiment, choices: Sequence[Choices], search: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the variations' values by name, the base first, and those left out as they equal the base."""
    count = (sum if search == "one" else math.prod)(len(choice.values) for choice in choices)
    if count > MAX_VARIATIONS:
        raise ConfigurationError(f"{count:,} variations; up to {MAX_VARIATIONS} at a time, or --search optuna")
    base_values = {choice.key: value_in(base, choice) for choice in choices}
    if search == "one":
        combinations = [{choice.key: value} for choice in choices for value in choice.values]
    else:
        products = itertools.product(*(choice.values for choice in choices))
        combinations = [dict(zip(base_values, values, strict=True)) for values in products]
    variations, left_out = {BASE: base_values}, dict[str, str]()
    for combination in combinations:
        values = base_values | combination
        changed = {key: value for key, value in values.items() if format_value(value) != format_value(base_values[key])}
        if changed:
            variations[format_values(changed)] = values
        else:
            left_out[format_values(combination)] = SAME_AS_BASE
    return variations, left_out


def describe_effects(standings: Sequence[Standing], base: Standing) -> list[str]:
    """Describe each value of each key against the base's, over all pairs that differ in nothing else and all seeds."""
    best, effects = standings[0], []
    difference = paired_difference(best.accuracies("validation"), base.accuracies("validation"))
    if best is not base and difference:
        effects.append(
            describe_difference(best.name, BASE, difference, "validation accuracy")
            + f"; it is the best of {len(standings)} on this very validation, which flatters it"
        )
    for key, base_value in base.settings.items():
        values = list(dict.fromkeys(standing.settings[key] for standing in standings if standing is not base))
        reference = base_value if base_value in values or len(values) < 2 else min(values)
        for value in values:
            if value != reference:
                effects += describe_effect(standings, key, value, reference)
    return effects


def describe_effect(standings: Sequence[Standing], key: str, value: Any, reference: Any) -> list[str]:
    """Describe a value against the reference, over all pairs that differ in nothing else; one sentence or none."""
    ours: list[dict[int, float]] = []
    theirs: list[dict[int, float]] = []
    cost_ratios: list[float] = []
    for standing in (standing for standing in standings if standing.settings[key] == value):
        partner = next((item for item in standings if item.settings == {**standing.settings, key: reference}), None)
        if partner is None or not standing.cost or not partner.cost:
            continue
        our_values, their_values = standing.accuracies("validation"), partner.accuracies("validation")
        common = our_values.keys() & their_values.keys()
        ours.append({seed: our_values[seed] for seed in common})
        theirs.append({seed: their_values[seed] for seed in common})
        cost_ratios.append(standing.cost.multiply_adds / max(partner.cost.multiply_adds, 1))
    seeds = set[int]().union(*ours)
    if len(seeds) > 1:  # chance is about the seeds; the surrounding settings are averaged over
        difference = paired_difference(mean_by_seed(ours, seeds), mean_by_seed(theirs, seeds))
        interval = f"95 % interval over {len(seeds)} seeds"
    else:
        difference = paired_difference(*(
            dict(enumerate(fmean(cell.values()) for cell in cells if cell)) for cells in (ours, theirs)
        ))  # fmt: skip
        interval = f"95 % interval over {len(cost_ratios)} settings around it" if len(cost_ratios) > 1 else "one pair"
    if difference is None:
        return []
    gain = f"{difference.format_points()} points ({interval})"
    return [f"{key}: {value} instead of {reference}: {gain}, at {fmean(cost_ratios):.2f} times the multiply-adds"]


def mean_by_seed(cells: Sequence[Mapping[int, float]], seeds: set[int]) -> dict[int, float]:
    """Return the mean over the cells that have a seed, by seed."""
    return {seed: fmean([cell[seed] for cell in cells if seed in cell]) for seed in sorted(seeds)}
