"""`vary`: one network, changed option by option or recipe key by recipe key, and what each change bought at what cost.

The homework of D3 and its like. All variations have the same split, order and budget of epochs; they are judged on
validation, and only the chosen one reads the test set.
"""

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from lenext.comparison.costs import costs_of, jobs_of, machine_of
from lenext.comparison.plan import Contestant, Plan, check_seed, data_of, settled, spelled, state_of
from lenext.comparison.standings import Standing, guessing, ranked, tell, write_csv, write_page
from lenext.comparison.statistics import paired, sentence
from lenext.comparison.trials import Outcome, read_test_of
from lenext.comparison.values import Choices, applied, base_value, parse, said
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path
from lenext.reporting.console import Console
from lenext.training.experiment import Experiment
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.job import Job
from lenext.workflows.prepare import build_experiment, load_data, resolve_image_size
from lenext.workflows.train import absolute_path, default_name, with_absolute_paths

MOST = 500  # variations at a time
BASE = "base"
SAME = "the network is like this already, so the base shows it"


@dataclass(frozen=True)
class Variation:
    """Variations that were run: their folder with the page and the table, the best first, what each change bought, and
    which were left out, with the reason."""

    path: Path
    standings: tuple[Standing, ...]
    effects: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def page(self) -> Path:
        return self.path / "vary.html"


def vary(
    network: str,
    options: Sequence[str],
    *,
    data: str = "",
    search: Literal["grid", "one"] = "grid",
    seeds: int = 1,
    recipe: str = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    label_column: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **given: Any,
) -> Variation:
    """Train a network in all combinations of these options, or changed one at a time, beside the network as it is.

    options: `KEY=V1,V2`, each, of the network's constructor or of the recipe; see `values.parse`
    search: `grid`, all combinations; `one`, each value alone against the base (an ablation)
    data, seeds, recipe, name, runs_dir, given: as for `race`; the same request goes on with what is there

    Combinations that cannot work are refused before anything runs, with what the doctor says. Raises
    ConfigurationError where nothing is left, or an option is unknown.
    """
    if seeds < 1:
        raise ConfigurationError(f"seeds={seeds}: at least 1")
    check_seed(given)
    choices = parse(network, options)
    if not choices:
        raise ConfigurationError("vary what? Give --option KEY=V1,V2, e.g. --option depths=3,5,7")
    if spans := [one.key for one in choices if one.span]:
        raise ConfigurationError(f"{spans[0]}: a range is for --search optuna; give values with commas")
    data = data_of(recipe, data)
    request = {
        "vary": network, "options": list(options), "data": absolute_path(data),
        "state": state_of(data, recipe, network), "search": search, "seeds": seeds, "recipe": recipe,
        "label_column": label_column, "settings": {key: given[key] for key in sorted(given)},
    }  # fmt: skip
    with Console(quiet) as console:

        def make() -> Plan:
            base, whole = base_of(network, data, recipe, label_column, given, data_dir, offline)
            check_judged(base, whole)
            wanted, left_out = combinations(base, choices, search)
            jobs, experiments = tried(base, choices, wanted, whole, data_dir, offline, left_out)
            for why in dict.fromkeys(left_out.values()):
                console.print(f"left out: {'; '.join(one for one, its in left_out.items() if its == why)}: {why}")
            costs = costs_of(jobs)
            found = tuple(
                Contestant(one, experiments[one], costs[one], {key: said(value) for key, value in wanted[one].items()})
                for one in jobs
            )
            return Plan({}, found, seeds, machine_of(jobs), left_out)

        otherwise = default_name("", Experiment(network=f"vary-{network.rpartition('/')[2]}", data=data))
        folder, plan, was_there = settled(request, expand_path(runs_dir), name, otherwise.replace(":", "-"), make)
        console.print_facts(facts_of(request, plan, folder) | plan.time(folder))
        console.print("going on with what is there\n" if was_there else "")
        how: dict[str, Any] = {"data_dir": data_dir, "offline": offline}
        outcomes = plan.carry_out(folder, read_test=False, say=console.print, **how)
        found = concluded(plan, folder, outcomes, request, how)
        tell(found.standings[:20], found.effects, console.print)
        console.print(f"\npage: {found.page}")
    return found


def base_of(
    network: str, data: str, recipe: str, label_column: str, given: Mapping[str, Any],
    data_dir: str | Path | None, offline: bool,
) -> tuple[Experiment, Dataset]:  # fmt: skip
    """The network as it is, with its own recipe, and its data."""
    outer = {"network": network, "data": data, "label_column": label_column}
    experiment = resolve_image_size(build_experiment(recipe, outer, given))
    experiment = with_absolute_paths(replace(experiment, recipe=experiment.recipe.with_defaults()))
    return experiment, load_data(experiment, Context(data_dir, offline))


def check_judged(base: Experiment, whole: Dataset) -> None:
    """Variations are judged on validation."""
    if base.recipe.select_on_test or split_by_recipe(whole, base.recipe).validation is None:
        raise ConfigurationError(
            "variations are judged on validation images; leave out validation_fraction=0 and select_on_test"
        )


def combinations(
    base: Experiment, choices: Sequence[Choices], search: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Names and values of the variations, the base first; and why those that are the base are left out."""
    number = (sum if search == "one" else math.prod)(len(one.values) for one in choices)
    if number > MOST:
        raise ConfigurationError(f"{number:,} variations; up to {MOST} at a time, or --search optuna")
    usual = {one.key: base_value(base.network, base, one.key) for one in choices}
    if search == "one":
        wanted = [{one.key: value} for one in choices for value in one.values]
    else:
        keys = [one.key for one in choices]
        wanted = [dict(zip(keys, some, strict=True)) for some in itertools.product(*(one.values for one in choices))]
    found, same = {BASE: usual}, dict[str, str]()
    for some in wanted:
        whole = usual | some
        differing = {key: value for key, value in whole.items() if said(value) != said(usual[key])}
        if differing:
            found[named_by(differing)] = whole
        else:
            same[named_by(some)] = SAME
    return found, same


def named_by(values: Mapping[str, Any]) -> str:
    """The name of a variation."""
    return " ".join(f"{key}={said(value)}" for key, value in values.items())


def tried(
    base: Experiment, choices: Sequence[Choices], wanted: Mapping[str, dict[str, Any]], whole: Dataset,
    data_dir: str | Path | None, offline: bool, left_out: dict[str, str],
) -> tuple[dict[str, Job], dict[str, Experiment]]:  # fmt: skip
    """The variations that can work; the others go to `left_out`, with the reason. Raises ConfigurationError where the
    base is all that is left, or does not work itself."""
    jobs: dict[str, Job] = {}
    experiments: dict[str, Experiment] = {}
    for name, values in wanted.items():
        try:
            experiments[name] = experiment = varied(base, choices, {} if name == BASE else values)
            jobs |= jobs_of({name: experiment}, whole, data_dir, offline)
        except ConfigurationError as error:
            if name == BASE:
                raise
            left_out[name] = str(error)
    if len(jobs) < 2:
        raise ConfigurationError(f"nothing is left to compare: {'; '.join(dict.fromkeys(left_out.values()))}")
    return jobs, experiments


def varied(base: Experiment, choices: Sequence[Choices], values: Mapping[str, Any]) -> Experiment:
    """The base with these values."""
    options, recipe = applied(base, choices, values)
    return resolve_image_size(replace(base, options=options, recipe=recipe.with_defaults()))


def facts_of(request: Mapping[str, Any], plan: Plan, folder: Path) -> dict[str, str]:
    recipe = plan.contestants[0].experiment.recipe
    return {
        "variations": f"{len(plan.contestants)} of {request['vary']} on {Path(str(request['data'])).name}, "
        f"{'all combinations' if request['search'] == 'grid' else 'one change at a time'}",
        "in": str(folder),
        "each": f"{plan.seeds} seed{'s' if plan.seeds > 1 else ''}, {recipe.epochs} epochs; judged on validation",
        "machine": plan.machine,
    }


def concluded(
    plan: Plan, folder: Path, outcomes: list[Outcome], request: Mapping[str, Any], how: Mapping[str, Any],
) -> Variation:  # fmt: skip
    """The standings with the chosen one's test accuracy, and what each change bought."""
    order = ranked(plan.standings(outcomes), "validation")
    if order[0].figures("validation"):  # only the chosen one reads the test set
        read = tuple(read_test_of(outcome, **how) for outcome in order[0].outcomes)
        order[0] = replace(order[0], outcomes=read)
    base = next(one for one in order if one.name == BASE)
    bought = [*effects(order, base), *guessing(order)]
    write_csv(order, folder / "vary.csv")
    facts = [
        *facts_of(request, plan, folder).items(),
        *(("left out", f"{one}: {why}") for one, why in plan.left_out.items()),
    ]
    write_page(
        folder / "vary.html", order, title=f"{request['vary']}, varied", part="validation", facts=facts, notes=bought,
        command=command_of(request), base=base,
    )  # fmt: skip
    return Variation(folder, tuple(order), tuple(bought), plan.left_out)


def effects(standings: Sequence[Standing], base: Standing) -> list[str]:
    """Of each value of each option, against the base's: over all pairs that differ in nothing else, and all seeds."""
    best, found = standings[0], []
    if best is not base and (difference := paired(best.figures("validation"), base.figures("validation"))):
        chosen = f"; it is the best of {len(standings)} on this very validation, which flatters it"
        found.append(sentence(best.name, BASE, difference, "validation accuracy") + chosen)
    for key, usual in base.settings.items():
        values = list(dict.fromkeys(one.settings[key] for one in standings if one is not base))
        against = usual if usual in values or len(values) < 2 else min(values)
        for value in values:
            if value != against:
                found += effect(standings, key, value, against)
    return found


def effect(standings: Sequence[Standing], key: str, value: Any, against: Any) -> list[str]:
    """What a value bought instead of another, over all pairs that differ in nothing else."""
    ours: list[dict[int, float]] = []
    theirs: list[dict[int, float]] = []
    costs: list[float] = []
    for one in (one for one in standings if one.settings[key] == value):
        other = next((two for two in standings if two.settings == {**one.settings, key: against}), None)
        if other is None or not one.cost or not other.cost:
            continue
        mine, its = one.figures("validation"), other.figures("validation")
        ours.append({seed: mine[seed] for seed in mine.keys() & its.keys()})
        theirs.append({seed: its[seed] for seed in mine.keys() & its.keys()})
        costs.append(one.cost.multiply_adds / max(other.cost.multiply_adds, 1))
    seeds = set[int]().union(*ours)
    if len(seeds) > 1:  # the seeds are what chance is about; the settings around are averaged over
        difference = paired(*(by_seed(some, seeds) for some in (ours, theirs)))
        over = f"95 % interval over {len(seeds)} seeds"
    else:
        difference = paired(*(dict(enumerate(fmean(one.values()) for one in some if one)) for some in (ours, theirs)))
        over = f"95 % interval over {len(costs)} settings around it" if len(costs) > 1 else "one pair"
    if difference is None:
        return []
    words = f"{difference.points()} points ({over}), at {fmean(costs):.2f} times the multiply-adds"
    return [f"{key}: {value} instead of {against}: {words}"]


def by_seed(cells: Sequence[Mapping[int, float]], seeds: set[int]) -> dict[int, float]:
    """The mean over the cells that have a seed, by seed."""
    return {seed: fmean([cell[seed] for cell in cells if seed in cell]) for seed in sorted(seeds)}


def command_of(request: Mapping[str, Any]) -> str:
    """The command line that asks for the same."""
    parts = ["lenext", "vary", request["vary"], *(f"--option={one}" for one in request["options"])]
    parts += spelled(request, "data", "search", "seeds", "recipe", "label_column")
    return shlex.join(parts)
