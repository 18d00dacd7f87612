"""`reproduce`: a published result run again, as published or better, and printed beside what was published."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lenext.comparison.costs import costs_of, jobs_of, machine_of
from lenext.comparison.plan import Contestant, Plan, settled, spelled
from lenext.comparison.published import PUBLISHED, Published
from lenext.comparison.standings import Standing
from lenext.comparison.trials import Outcome
from lenext.foundation.errors import ConfigurationError, TrainingError, unknown_name
from lenext.foundation.files import csv_text, expand_path, write_atomic
from lenext.reporting.console import Console
from lenext.reporting.page import render
from lenext.reporting.svg import Chart, Line
from lenext.reporting.tables import build_table
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.recipes import OF_NETWORKS, RECIPES
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.fingerprint import MAY_CHANGE
from lenext.workflows.prepare import load_data, resolve_image_size


@dataclass(frozen=True)
class Reproduction:
    """A published result beside ours. rows: by epoch, in per cent, None where there is none; accuracy: what it ends
    with (as published: of the last epoch; better: the test set, read once), as a fraction."""

    path: Path
    published: Published
    standing: Standing
    rows: tuple[dict[str, float | None], ...]
    accuracy: float
    sentence: str


def describe() -> list[dict[str, Any]]:
    """The published results, a row each."""
    rows = []
    for name, one in PUBLISHED.items():
        rows.append(
            {
                "name": name,
                "network": one.network,
                "data": one.data,
                "epochs": epochs_of(one),
                "published %": "none printed" if one.figure is None else f"{one.figure:.2f} ({one.measured})",
                "--better": f"{one.better.network}, {one.better.epochs} epoch{'s' if one.better.epochs > 1 else ''}",
            }
        )
    return rows


def experiment_of(one: Published, better: bool) -> Experiment:
    """As published: nothing but what the document says; better: the recipe of our network for small images."""
    if not better:
        recipe = Recipe().with_keys(RECIPES[one.recipe]).with_keys(one.settings)
        return resolve_image_size(Experiment(network=one.network, data=one.data, recipe=recipe.with_defaults()))
    ours = one.better
    recipe = Recipe().with_keys(OF_NETWORKS.get(ours.network, {})).with_keys({"epochs": ours.epochs, **ours.settings})
    return resolve_image_size(
        Experiment(network=ours.network, options=ours.options, data=one.data, recipe=recipe.with_defaults())
    )


def reproduce(
    which: str,
    *,
    better: bool = False,
    scale: float = 1.0,
    seeds: int = 1,
    name: str = "",
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **given: Any,
) -> Reproduction:
    """Run a published result again: as published, faults and all, or with our own recipe for the same data.

    which: a name of PUBLISHED, such as D4/resnet18
    better: our network of the same family for small images, within the published epochs, validation out of the
        training images, the test set read once
    scale: the share of the training images to run it on; seeds: how many trainings, whose mean is told
    given: keys of a Recipe that change what is run (the machine's, say: `threads`)

    Raises ConfigurationError for a name that is not there.
    """
    if which not in PUBLISHED:
        raise ConfigurationError(unknown_name("published result", which, PUBLISHED, "`lenext reproduce` lists them"))
    if not 0 < scale <= 1:
        raise ConfigurationError(f"scale={scale:g}: a share of the training images, above 0 and up to 1")
    if seeds < 1:
        raise ConfigurationError(f"seeds={seeds}: at least 1")
    one = PUBLISHED[which]
    request = {"reproduce": which, "better": better, "scale": scale, "seeds": seeds, "settings": given}
    with Console(quiet) as console:

        def make() -> Plan:
            experiment = experiment_of(one, better)
            whole = load_data(experiment, Context(data_dir, offline))
            changed = experiment.recipe
            if scale < 1:
                changed = changed.with_keys(
                    {"train_samples": max(2, round(scale * len(split_by_recipe(whole, changed).train)))}
                )
            changed = changed.with_keys(given).with_defaults()
            limit = epochs_of(one)
            if changed.epochs > limit:
                raise ConfigurationError(f"epochs={changed.epochs}: published are {limit}; give no more")
            experiment = replace(experiment, recipe=changed)
            jobs = jobs_of({experiment.network: experiment}, whole, data_dir, offline)
            cost = costs_of(jobs)[experiment.network]
            return Plan({}, (Contestant(experiment.network, experiment, cost),), seeds, machine_of(jobs))

        folder, plan, was_there = settled(request, expand_path(runs_dir), name, folder_name(which, better, scale), make)
        console.print_facts(facts_of(which, one, plan, better, scale) | plan.time(folder))
        console.print("going on with what is there\n" if was_there else "")
        outcomes = plan.carry_out(folder, data_dir=data_dir, offline=offline, say=console.print)
        found = concluded(which, one, plan, folder, outcomes, better, scale)
        tell(found, better, console)
    return found


def changes(plan: Plan) -> str:
    """What is not as published, or as our recipe has it."""
    given = plan.request["settings"]
    return "".join(f", but {key}={value}" for key, value in given.items() if key not in MAY_CHANGE - {"epochs"})


def epochs_of(one: Published) -> int:
    """As many as were published."""
    return int(one.settings.get("epochs", RECIPES[one.recipe]["epochs"]))


def folder_name(which: str, better: bool, scale: float) -> str:
    parts = [which.replace("/", "-"), *(["better"] if better else []), *([f"scale{scale:g}"] if scale < 1 else [])]
    return "-".join(["reproduce", *parts])


def facts_of(which: str, one: Published, plan: Plan, better: bool, scale: float) -> dict[str, str]:
    """What is run, and what of it is a fault."""
    experiment = plan.contestants[0].experiment
    recipe = experiment.recipe
    figure = "no figure" if one.figure is None else f"{one.figure:.2f} % ({one.measured})"
    facts = {
        "published": f"{which}: {one.network} on {one.data}, {epochs_of(one)} epochs; {figure}",
        "run": f"{experiment.network}, {'our recipe' if better else 'as published'}{changes(plan)}, {recipe.epochs} "
        f"epochs, {recipe.optimizer} {recipe.learning_rate:g}, batches of {recipe.batch_size} at "
        f"{recipe.image_size} px",
    }
    if scale < 1:
        facts["scale"] = f"{scale:g} of the training images, {recipe.train_samples:,}: not the published result"
    if not better:
        facts["faults"] = "; ".join(one.faults) or "none"
    return facts | {"machine": plan.machine}


def concluded(
    which: str, one: Published, plan: Plan, folder: Path, outcomes: list[Outcome], better: bool, scale: float
) -> Reproduction:
    """The figures side by side, as a table and a page beside the runs. Raises TrainingError where no trial ended."""
    (standing,) = plan.standings(outcomes)
    good = [outcome for outcome in outcomes if outcome.records]
    if not any(outcome.results for outcome in good):
        raise TrainingError(f"{which}: {'; '.join(standing.failures)}")
    rows = tuple(epoch_rows(one, good, better))
    if better:
        tests = list(standing.figures("test").values())
        held = list(standing.figures("validation").values())
        accuracy = fmean(held if one.measured == "validation" else tests)
    else:
        accuracy = fmean([outcome.records[-1].val_accuracy or 0.0 for outcome in good])
    found = Reproduction(
        folder, one, standing, rows, accuracy, conclusion(one, accuracy, len(good), better, scale) + changes(plan)
    )
    rounded = ([None if value is None else round(value, 4) for value in row.values()] for row in rows)
    write_atomic(folder / "reproduction.csv", csv_text(list(rows[0]), rounded))
    page = render(
        "reproduction.html", title=f"{which}, {'our recipe' if better else 'as published'}", sentence=found.sentence,
        charts=charts(rows), rows=rows, facts=list(facts_of(which, one, plan, better, scale).items()),
        command=command_of(which, better, scale, plan), failures=[f"failed, {one}" for one in standing.failures],
    )  # fmt: skip
    write_atomic(folder / "reproduction.html", page)
    return found


def epoch_rows(one: Published, outcomes: Sequence[Outcome], better: bool) -> list[dict[str, float | None]]:
    """Published and measured by epoch, in per cent; measured is the mean over the seeds, divided as the document does
    where it is as published."""
    divisor = 1.0 if better else one.divisor
    longest = max(len(outcome.records) for outcome in outcomes)

    def mean(epoch: int, *names: str) -> float | None:
        found = []
        for outcome in outcomes:
            for record in outcome.records[epoch : epoch + 1]:
                values = [value for name in names if (value := getattr(record, name)) is not None]
                found += [100 * values[0] / divisor] if values else []
        return fmean(found) if found else None

    rows: list[dict[str, float | None]] = []
    for epoch in range(max(longest, len(one.held))):
        rows.append(
            {
                "epoch": float(epoch + 1),
                "published": one.held[epoch] if epoch < len(one.held) else None,
                "measured": mean(epoch, "val_accuracy"),
                "published, training": one.training[epoch] if epoch < len(one.training) else None,
                "measured, training": mean(epoch, "evaluated_train_accuracy", "train_accuracy"),
            }
        )
    return rows


def conclusion(one: Published, accuracy: float, seeds: int, better: bool, scale: float) -> str:
    """What the figures say."""
    shown = 100 * accuracy / (1.0 if better else one.divisor)
    over = f" (mean of {seeds} seeds)" if seeds > 1 else ""
    part = f" on {scale:g} of the training images" if scale < 1 else ""
    if one.figure is None:
        return f"Nothing was published; measured: {shown:.2f} %{over}{part}"
    target = (one.best or one.figure) if better else one.figure
    apart = shown - target
    return (
        f"Published: {target:.2f} %{' (its best epoch)' if target != one.figure else ''}; measured{part}: "
        f"{shown:.2f} %{over}, {abs(apart):.2f} points {'above' if apart >= 0 else 'below'}"
    )


def charts(rows: Sequence[dict[str, float | None]]) -> list[Chart]:
    """Published and measured over each other."""
    epochs = [row["epoch"] or 0.0 for row in rows]
    found = []
    for title, suffix in (("Held out", ""), ("Training", ", training")):
        lines = [
            Line(name, epochs, [share(row[f"{name}{suffix}"]) for row in rows], look)
            for name, look in (("published", "a"), ("measured", "b"))
        ]
        lines = [line for line in lines if any(value is not None for value in line.y)]
        if lines:
            found.append(Chart(f"{title}: accuracy", lines, percent=True))
    return found


def share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def tell(found: Reproduction, better: bool, console: Console) -> None:
    """The table by epoch and the conclusion."""
    columns = dict.fromkeys(found.rows[0], "right")
    rows = [
        [f"{value:.0f}" if name == "epoch" else "" if value is None else f"{value:.2f}" for name, value in row.items()]
        for row in found.rows
    ]
    what = "validation" if better else found.published.measured
    console.print()
    console.print(build_table(f"accuracy in per cent, {what} and training", columns, rows))
    console.print(f"{found.sentence}\n\npage: {found.path / 'reproduction.html'}")


def command_of(which: str, better: bool, scale: float, plan: Plan) -> str:
    parts = ["lenext", "reproduce", which, *(["--better"] if better else [])]
    parts += ["--scale", f"{scale:g}"] if scale < 1 else []
    parts += ["--seeds", str(plan.seeds)] if plan.seeds > 1 else []
    return shlex.join([*parts, *spelled(plan.request)])
