"""`train`: from a network and data to a run on disk."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.data import IN_PYTHON_PREFIX, source_stem
from lenext.data.dataset import Dataset
from lenext.foundation.files import expand_path
from lenext.foundation.group import Group
from lenext.foundation.signals import StopSignal
from lenext.models.user_network import check_network_argument
from lenext.reporting.console import Console, open_console
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.follow import follow
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.plan_text import describe_job, job_notes
from lenext.workflows.prepare import build_experiment, load_data, resolve_experiment, with_absolute_paths
from lenext.workflows.processes import check_same, find_started, open_group
from lenext.workflows.report import write_report
from lenext.workflows.resume import resume_run
from lenext.workflows.session import Session


def train(
    network: str | nn.Module = "",
    data: str | Path | Dataset = "",
    *,
    recipe: str | Path | Recipe = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    options: Mapping[str, Any] | None = None,
    pretrained: bool | str = False,
    freeze: str = "",
    test_data: str = "",
    label_column: str = "",
    on_bad_image: str = "",
    corrections: str | Path = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool | Console = False,
    report: bool = True,
    read_test: bool = True,
    watch: Callable[[Record], None] | None = None,
    **settings: Any,
) -> Run:
    """Train a network on data, and leave a run: weights, records, figures, predictions for the test set.

    Args:
        network: A name of MODELS, `FILE.py:Class`, or a module; lenet by default.
        data: A name of DATASETS, a path, or a Dataset; the digits by default.
        recipe: A name of RECIPES, a YAML file, or a Recipe.
        name: Of the run's folder; NETWORK-DATA with the next free number by default.
        runs_dir: Where the run's folder is made.
        options: Arguments of the network's constructor.
        pretrained: True for published ImageNet weights, or a file of weights.
        freeze: Parts that do not learn, comma-separated; `backbone` for all but the last layer.
        test_data: A separate test set, as `data`.
        label_column: Of a CSV file.
        on_bad_image: `stop`, or `skip` images that cannot be read.
        corrections: A CSV of decisions about samples (split, sample, decision, label): keep, relabel or drop.
        data_dir: Where published data are kept.
        offline: Whether the network must not be used.
        quiet: Whether nothing is printed; or the console to print to.
        report: Whether the page is written at the end.
        read_test: Whether the test set is measured, once, at the end.
        watch: Called after each epoch; an exception from it ends the training, which can be resumed.
        settings: Keys of a Recipe; they win over `recipe`.

    Raises:
        LenextError: The user can fix it.
        StoppedError: Ctrl-C or SIGTERM stopped the training, and `resume` continues it; it is a KeyboardInterrupt.
    """
    check_network_argument(network)
    outer = {
        "network": network if isinstance(network, str) else "",
        "data": "" if isinstance(data, Dataset) else str(data),
        "test_data": str(test_data),
        "label_column": label_column,
        "on_bad_image": on_bad_image,
        "corrections": str(corrections),
        "options": dict(options or {}),
        "pretrained": "imagenet" if pretrained is True else str(pretrained or ""),
        "freeze": freeze,
    }
    with open_group() as group, open_console(quiet or not group.is_first) as console:
        experiment = group.together(lambda: build_experiment(recipe, outer, settings))
        if isinstance(network, nn.Module):
            experiment = replace(experiment, network="")
        if isinstance(data, Dataset):
            experiment = replace(experiment, data=f"{IN_PYTHON_PREFIX}{data.name}")
        context = Context(
            data_dir, offline, console,
            network=network if isinstance(network, nn.Module) else None,
            dataset=data if isinstance(data, Dataset) else None,
            group=group,
        )  # fmt: skip
        if group.launch and (run := find_started(expand_path(runs_dir), group)):  # by an attempt that lost a process
            own = run.experiment if group.is_first else experiment
            return resume_run(run, own, context, report=report, read_test=read_test, watch=watch)
        return run_experiment(
            experiment, folder_for(runs_dir, name, network, experiment, group), context,
            numbered=not name, report=report, read_test=read_test, watch=watch,
        )  # fmt: skip


def folder_for(runs_dir: str | Path, name: str, network: str | nn.Module, experiment: Experiment, group: Group) -> Path:
    """Return the folder of a new run: of its name, or of the default one."""
    if not name:
        return expand_path(runs_dir) / default_name(network, experiment)
    return group.together(lambda: Run.path_for(runs_dir, name))


def run_experiment(
    experiment: Experiment,
    folder: Path,
    context: Context,
    *,
    numbered: bool = False,
    report: bool = True,
    read_test: bool = True,
    watch: Callable[[Record], None] | None = None,
) -> Run:
    """Carry out an experiment in a new run folder. `train` and every trial of a comparison call this function.

    Args:
        experiment: What is trained, how, on which data.
        folder: The run's folder; it must not exist.
        context: Where data are found and output goes; of several processes the first writes the run.
        numbered: Whether an existing folder is avoided by a number after the name.
        report: Whether the page is written at the end.
        read_test: Whether the test set is measured at the end.
        watch: Called after each epoch; an exception from it stops the training, which can be resumed.

    Raises:
        LenextError: The user can fix it.
        StoppedError: A signal stopped the training after a checkpoint was saved.
    """
    group = context.group

    def check() -> Experiment:
        if group.is_first:
            Run.choose_folder(folder, numbered=numbered)
        return resolve_experiment(experiment)

    experiment = group.together(check)
    if not group.is_first:
        return follow(experiment, context, read_test)
    with restore_thread_count(), StopSignal() as stop:
        stop.at_once = True  # nothing is lost yet
        dataset, job = group.together(lambda: prepare_training(experiment, context))
        check_same(group, job)
        plan = describe_job(job, group.size)
        stop.at_once = False
        run = group.share(Run.create(folder, numbered=numbered))
        if group.launch:  # before all else: the next attempt finds it, if this one is lost
            run.write_json("environment.json", {"launch": group.launch})
        with run.lock():
            console = context.console
            console.open_log(run.path / "train.log")
            console.print_facts(plan | {"run": str(run.path)})
            for note in job_notes(job):
                console.print(f"note: {note}")
            console.print()
            session = Session(job, run, console, reads_test=read_test, watch=watch, group=group)
            session.write_facts(context.data_dir)
            session.train(stop)
            if report:
                write_report(run, experiment, replace(context, dataset=dataset))
    return run


def prepare_training(experiment: Experiment, context: Context) -> tuple[Dataset, Job]:
    """Return the data of an experiment, and the training that is ready to begin. Sets the number of threads."""
    set_thread_count(experiment.recipe.threads)
    dataset = load_data(experiment, context)
    data = split_by_recipe(dataset, experiment.recipe)
    return dataset, prepare_job(with_absolute_paths(experiment), data, context)


def default_name(network: str | nn.Module, experiment: Experiment) -> str:
    """Return NETWORK-DATA, from the last parts of paths."""
    name = type(network).__name__ if isinstance(network, nn.Module) else experiment.network.rpartition(":")[2]
    return f"{name.lower().replace(' ', '_')}-{source_stem(experiment.data)}"
