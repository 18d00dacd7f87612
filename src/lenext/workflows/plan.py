"""The plan of a training: what it would do and how long it would take, checked as far as its first steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenext.acceleration.threads import restore_thread_count
from lenext.foundation.files import expand_path
from lenext.runs.folder import Run
from lenext.workflows.context import Context
from lenext.workflows.plan_text import describe_job, job_notes
from lenext.workflows.prepare import build_experiment, resolve_experiment
from lenext.workflows.train import default_name, prepare_training


@dataclass(frozen=True)
class Plan:
    """The plan of a training.

    Attributes:
        facts: By subject: network, data, split, recipe, images, device, time, run.
        notes: What else the user should know, one line each.
    """

    facts: dict[str, str]
    notes: list[str]


def plan(
    network: str = "",
    data: str | Path = "",
    *,
    recipe: str | Path = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    outer: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
    **settings: Any,
) -> Plan:
    """Return what `train` would do with these arguments. Nothing is written but downloads of data and weights.

    Args:
        network: As for `train`.
        data: As for `train`.
        recipe: As for `train`.
        name: As for `train`.
        runs_dir: As for `train`.
        outer: The other keys of an Experiment.
        data_dir: As for `train`.
        offline: As for `train`.
        settings: Keys of a Recipe.

    Raises:
        LenextError: As `train` does before it begins.
    """
    experiment = build_experiment(recipe, {"network": network, "data": str(data), **(outer or {})}, settings)
    folder = Run.path_for(runs_dir, name) if name else expand_path(runs_dir) / default_name(network, experiment)
    folder = Run.choose_folder(folder, numbered=not name)
    experiment = resolve_experiment(experiment)
    with restore_thread_count():
        _, job = prepare_training(experiment, Context(data_dir, offline))
        return Plan(describe_job(job) | {"run": str(folder)}, job_notes(job))
