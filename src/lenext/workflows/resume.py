"""`resume`: continue a run that was stopped or killed, or give it more epochs, from its newest good checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.data import IN_PYTHON_PREFIX
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import remove_leftovers, write_atomic
from lenext.foundation.signals import StopSignal
from lenext.models.user_network import check_network_argument, is_user_network
from lenext.reporting.console import Console, open_console
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.metrics import Record
from lenext.training.settings import split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.follow import follow
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.machine import environment
from lenext.workflows.prepare import absolute_network, context_of, load_data
from lenext.workflows.processes import check_same, open_group
from lenext.workflows.report import write_report
from lenext.workflows.session import Session

BIT_CONDITIONS = ("versions", "platform", "device", "device_name", "precision", "memory_format", "threads")
"""What the bits of a result depend on, besides the recipe and the data."""


def resume(
    run: str | Path | Run,
    *,
    epochs: int | None = None,
    network: str | nn.Module = "",
    data: Dataset | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool | Console = False,
    report: bool = True,
    read_test: bool = True,
    watch: Callable[[Record], None] | None = None,
) -> Run:
    """Continue a run exactly where its newest good checkpoint was saved, to the same bits as if it had never stopped.

    The same bits need the same machine, versions, device and threads; a difference is reported. A run that has ended
    is left alone.

    Args:
        run: A run or its folder.
        epochs: In all, when it is to have more than its recipe says; the schedule is that of the new number.
        network: The module, or FILE.py:Class, of a run whose network is the user's own.
        data: The Dataset of a run whose data were made in Python.
        data_dir: Where published data are kept; the run's own folder by default.
        offline: Whether the network must not be used.
        quiet: Whether nothing is printed; or the console to print to.
        report: As for `train`.
        read_test: As for `train`.
        watch: As for `train`.

    Raises:
        LenextError: The run's recipe or data have changed, another process trains it, or no good checkpoint is left.
        StoppedError: As for `train`.
    """

    def open_run(path: str | Path | Run) -> tuple[Run, Experiment]:
        run = Run.open(path)
        experiment = with_epochs(run, run.experiment, epochs)
        check_named(run, experiment, network, data)
        if run.is_finished(experiment):
            options = {"epochs": epochs, "network": network, "data-dir": data_dir, "offline": offline}
            refuse_options(run, options)
        return run, experiment

    with open_group() as group, open_console(quiet or not group.is_first) as console:
        run, experiment = group.share(group.together(lambda: open_run(run) if group.is_first else None))
        if isinstance(network, str) and network:  # the file may be elsewhere now
            experiment = replace(experiment, network=absolute_network(network))
        module = network if isinstance(network, nn.Module) else None
        context = Context(data_dir, offline, console, network=module, dataset=data, group=group)
        return resume_run(run, experiment, context, report=report, read_test=read_test, watch=watch)


def resume_run(
    run: Run,
    experiment: Experiment,
    context: Context,
    *,
    report: bool = True,
    read_test: bool = True,
    watch: Callable[[Record], None] | None = None,
) -> Run:
    """Continue a run to the end of its experiment, from its newest good checkpoint.

    Args:
        run: A run that was stopped, killed, or has ended after fewer epochs.
        experiment: The run's own, possibly with more epochs; that of the first process counts, but each process
            finds data, weights and its own network where it says itself.
        context: Where data are found and output goes.
        report: Whether the page is written at the end.
        read_test: Whether the test set is measured at the end.
        watch: Called after each epoch; an exception from it stops the training, which can be resumed.
    """
    console, group = context.console, context.group
    is_done = group.share(group.is_first and run.is_finished(experiment))
    if is_done:
        if group.is_first:
            epochs = run.results.get("epochs")
            console.print(f"{run.path}: nothing to do; its {epochs} epochs are done; {why_done(run)}")
        return run
    first = run.environment if group.is_first else {}
    leading, threads, data_dir = group.share((experiment, first.get("threads"), first.get("data_dir")))
    if not group.is_first:
        there = replace(context, data_dir=context.data_dir or data_dir)
        return follow(with_paths_of(leading, experiment), there, read_test, threads)
    first_environment, context = run.environment, context_of(run, context)
    with restore_thread_count(), StopSignal() as stop, run.lock():
        stop.at_once = True  # nothing is lost before training continues
        for folder in (run.path, run.path / "weights"):
            remove_leftovers(folder)
        threads = experiment.recipe.threads
        set_thread_count(first_environment.get("threads", threads) if threads == "auto" else threads)
        newest = checkpoint.load_newest(run.checkpoints, lambda line: console.print(f"note: {line}"))

        def prepare() -> tuple[Dataset, Job]:
            dataset = load_data(experiment, context)
            data = split_by_recipe(dataset, experiment.recipe)
            return dataset, prepare_job(experiment, data, context, load_weights=newest is None)

        dataset, job = group.together(prepare)
        check_same(group, job)
        group.share(run)
        console.open_log(run.path / "train.log")
        session = Session(job, run, console, reads_test=read_test, watch=watch, group=group)
        if newest:
            session.restore(newest[1])
            report_resumption(console, run, session, first_environment)
        else:
            if run.records or run.results or run.weights().exists():
                raise RunError(
                    f"{run.path}: its checkpoints are gone, so it cannot be resumed; `lenext train` with "
                    f"--weights {run.weights()} starts again from what it learned"
                )
            console.print(f"{run.path}: no checkpoint was made yet; it begins at the start")
            session.write_facts(context.data_dir)
        write_atomic(run.path / "recipe.yaml", job.experiment.to_yaml())
        if run.results:  # of fewer epochs; only the number of readings of the test set is kept
            run.write_json("results.json", {"test_reads": run.test_reads})
        stop.at_once = False
        session.train(stop)
        if report:
            write_report(run, experiment, replace(context, dataset=dataset))
    return run


def with_paths_of(experiment: Experiment, own: Experiment) -> Experiment:
    """Return the experiment with the data, weights and files that this process names itself."""
    return replace(
        experiment, network=own.network, data=own.data, test_data=own.test_data, pretrained=own.pretrained,
        corrections=own.corrections,
    )  # fmt: skip


def refuse_options(run: Run, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for options that have no effect on a run that has ended."""
    for option, value in options.items():
        if value:
            raise ConfigurationError(f"--{option}: {run.path} has ended, so it has no effect; {why_done(run)}")


def why_done(run: Run) -> str:
    """Return why a run that has ended is not continued."""
    early = run.results.get("stopped_early")
    return "it stopped early, and would at once again" if early else "--epochs gives it more"


def with_epochs(run: Run, experiment: Experiment, epochs: int | None) -> Experiment:
    """Return the run's experiment with this number of epochs."""
    if epochs is None:
        return experiment
    if epochs < experiment.recipe.epochs:
        raise ConfigurationError(f"epochs={epochs}: {run.path} has {experiment.recipe.epochs} already; give more")
    return replace(experiment, recipe=experiment.recipe.with_keys({"epochs": epochs}))


def check_named(run: Run, experiment: Experiment, network: str | nn.Module, data: Dataset | None) -> None:
    """Check that what was made in Python, or is code, is given again, and nothing else."""
    check_network_argument(network)
    is_user = is_user_network(experiment.network)
    if isinstance(network, str) and is_user and class_of(network) != class_of(experiment.network):
        raise RunError(
            f"{run.path}: its network is your own code; give --network {experiment.network}, and that file is run"
        )
    if not experiment.network and not isinstance(network, nn.Module):
        raise RunError(f"{run.path}: its network was made in Python; resume it there, with resume(..., network=...)")
    if network and experiment.network and not is_user:
        raise RunError(f"{run.path}: its network is {experiment.network}; leave the other out")
    if experiment.data.startswith(IN_PYTHON_PREFIX) != (data is not None):
        raise RunError(
            f"{run.path}: its data are {experiment.data}; leave the others out"
            if data is not None
            else f"{run.path}: its data were made in Python; resume it there, with resume(..., data=...)"
        )


def class_of(network: str) -> str:
    """Return the class in FILE.py:Class, wherever the file is."""
    return network.rpartition(":")[2] if is_user_network(network) else ""


def report_resumption(console: Console, run: Run, session: Session, first: Mapping[str, Any]) -> None:
    """Print where the run continues, and how the machine differs from the first one; keep both with the run."""
    state, present = session.state, environment(session.job.compute)
    place = f"epoch {state.epoch + 1} of {session.job.recipe.epochs}, after {state.progress.position} steps"
    console.print(f"{run.path}: resumed in {place}")
    differing = [
        f"{key} {first.get(key)} -> {present[key]}" for key in BIT_CONDITIONS if first.get(key) != present[key]
    ]
    if differing:
        console.print(f"note: not the machine on which it began, so bits may differ: {'; '.join(differing)}")
    console.print()
    history = [*first.get("resumed", []), {"at": place, "command": present["command"], "differing": differing}]
    run.write_json("environment.json", {**first, "resumed": history})
