"""`lr-find`: suggest a learning rate for a network on some data."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path, provisional_folder
from lenext.reporting.console import Console
from lenext.reporting.figures.canvas import save_figure
from lenext.reporting.figures.training import learning_rate_search
from lenext.training.rates import RateSearch, find_learning_rate
from lenext.training.recipe import NOT_FOR_FEW_STEPS
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.job import prepare_job
from lenext.workflows.prepare import build_experiment, load_data, resolve_experiment


def lr_find(
    network: str = "",
    data: str | Path = "",
    *,
    recipe: str = "",
    options: Mapping[str, Any] | None = None,
    label_column: str = "",
    out: str | Path = "learning_rate.png",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> RateSearch:
    """Train a copy of a network while the learning rate rises, draw the loss by the rate, and suggest a rate.

    Args:
        network: As for `train`.
        data: As for `train`.
        recipe: As for `train`.
        options: Arguments of the network's constructor.
        label_column: Of a CSV file.
        out: The file of the figure.
        data_dir: Where published data are kept.
        offline: Whether the network must not be used.
        quiet: Whether nothing is printed.
        settings: Keys of a Recipe, except those that have no effect here.

    Raises:
        LenextError: The user can fix it.
    """
    for key in settings:
        if key in NOT_FOR_FEW_STEPS:
            raise ConfigurationError(f"{key}: it has no effect on the search for a learning rate; leave it out")
    outer = {"network": network, "data": str(data), "label_column": label_column, "options": dict(options or {})}
    experiment = resolve_experiment(build_experiment(recipe, outer, settings))
    path = expand_path(out)
    with provisional_folder(path.parent), restore_thread_count():
        set_thread_count(experiment.recipe.threads)
        context = Context(data_dir, offline)
        experiment = replace(experiment, recipe=replace(experiment.recipe, parts=1, replicas="auto", reduction="exact"))
        job = prepare_job(experiment, split_by_recipe(load_data(experiment, context), experiment.recipe), context)
        search = find_learning_rate(job.network, job.data, job.recipe, images=job.settings.images)
        save_figure(learning_rate_search(search, job.title), path)
    with Console(quiet) as console:
        present = float(experiment.recipe.learning_rate)
        console.print(
            f"{job.title}: a learning rate of {search.suggestion:.2g} is suggested; the recipe has {present:g}"
        )
        console.print(f"--learning-rate {search.suggestion:.2g} tries it; the curve is in {path}")
    return search
