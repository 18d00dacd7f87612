"""The engine of all comparisons: it makes a plan or resumes that of an equal request, trains, and writes results."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenext.comparison.outputs import print_results, write_results
from lenext.comparison.plan import Plan, find_plan, lock_planning
from lenext.comparison.specification import Comparison, Specification
from lenext.comparison.standings import rank_standings
from lenext.comparison.trials import read_test_set
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path, make_folder, provisional_folder
from lenext.runs.folder import Run
from lenext.workflows.context import Context
from lenext.workflows.costs import build_jobs, describe_machine, measure_costs
from lenext.workflows.prepare import load_data


def run_comparison(specification: Specification, runs_dir: str | Path, name: str, context: Context) -> Comparison:
    """Carry out a comparison, or what is left of it.

    Args:
        specification: What is compared.
        runs_dir: The folder in which the comparison gets its own.
        name: The name of its folder; if empty, the folder of an equal request is resumed, else a new one is made.
        context: Where data are found and output goes.

    Raises:
        ConfigurationError: The contestants do not fit the data.
        RunError: The folder of that name has something else in it.
    """
    console = context.console
    folder, plan, data = find_or_make_plan(specification, expand_path(runs_dir), name, context)
    facts = specification.facts(plan) | {"folder": str(folder), "machine": plan.machine}
    remaining = plan.format_time(folder)
    console.print_facts(facts | ({"time": remaining} if remaining else {}))
    console.print("continuing: trials that are done are kept\n" if data is None else "")
    standings, counts = specification.run_trials(plan, folder, context, data)
    if specification.ranked:
        standings = rank_standings(standings)
    choice_is_final = specification.part == "validation" and not counts.get("running")
    if choice_is_final:  # only the best, which is first, reads the test set
        outcomes = tuple(read_test_set(outcome, context) for outcome in standings[0].outcomes)
        standings[0] = replace(standings[0], outcomes=outcomes)
    comparison = Comparison(
        folder, folder / f"{specification.kind}.html", tuple(standings),
        tuple(specification.conclude(standings, counts)), plan.left_out, dict(counts),
    )  # fmt: skip
    write_results(specification, comparison, facts)
    print_results(specification, comparison, console)
    return comparison


def find_or_make_plan(
    specification: Specification, runs_dir: Path, name: str, context: Context
) -> tuple[Path, Plan, Dataset | None]:
    """Return the folder, the plan and the data, None if the plan is resumed. One process at a time does this."""
    request = json.loads(json.dumps(specification.request()))  # as it is read back from plan.json
    with provisional_folder(runs_dir), lock_planning(runs_dir):
        if existing := find_plan(request, runs_dir, name):
            return *existing, None
        data = load_data(specification.first_experiment(), context)  # all experiments have the same data
        plan = make_plan(specification, request, data, context)
        path = Run.path_for(runs_dir, name) if name else runs_dir / specification.default_name()
        folder = make_folder(Run.choose_folder(path, numbered=not name))
        plan.save(folder)
        return folder, plan, data


def make_plan(specification: Specification, request: Mapping[str, Any], data: Dataset, context: Context) -> Plan:
    """Check the contestants against the data, measure what they cost, and fit them into the budget.

    The baseline, to which others are compared, must fit the data; other contestants that do not are left out.
    """
    contestants, left_out = specification.contestants(data)
    jobs, misfits = build_jobs({item.name: item.experiment for item in contestants}, data, context)
    baseline = specification.baseline
    if misfits and (not baseline or baseline in misfits):
        raise ConfigurationError(misfits.get(baseline) or "; ".join(dict.fromkeys(misfits.values())))
    left_out = left_out | misfits
    if baseline and len(jobs) < 2:
        raise ConfigurationError(f"nothing is left to compare: {'; '.join(dict.fromkeys(left_out.values()))}")
    for reason in dict.fromkeys(left_out.values()):
        names = "; ".join(name for name, its_reason in left_out.items() if its_reason == reason)
        context.console.print(f"left out: {names}: {reason}")
    costs = measure_costs(jobs, specification.timing())
    measured = [replace(item, cost=costs[item.name]) for item in contestants if item.name in jobs]
    limited = specification.within_budget(measured, jobs)
    machine = describe_machine(next(iter(jobs.values())))
    return Plan(request, tuple(limited), specification.seeds, machine, left_out)
