"""`resume`: a run that was stopped, killed, or is to have more epochs, goes on from its newest good checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lenext.data import IN_PYTHON
from lenext.data.dataset import Dataset
from lenext.foundation.device import restore_thread_count, set_thread_count
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import remove_leftovers, write_atomic
from lenext.foundation.signals import StopSignal
from lenext.models.user_network import is_user_network
from lenext.reporting.console import Console, open_console
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from lenext.training.loop import split_by_recipe
from lenext.training.recipe import Experiment
from lenext.training.state import Record
from lenext.workflows.job import Job
from lenext.workflows.machine import environment
from lenext.workflows.prepare import load_data
from lenext.workflows.report import write_report
from lenext.workflows.session import Session
from lenext.workflows.train import absolute_network

MATTERS = ("versions", "platform", "device", "device_name", "precision", "memory_format", "threads")
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
    """Go on with a run exactly where its newest good checkpoint was made, to the same bits as if it had never stopped.

    epochs: as many in all, where it is to have more than its recipe says; its schedule is that of so many from there on
    network: of a run whose network was a module, or FILE.py:Class, which is run
    data: of a run whose data were a Dataset
    data_dir, offline: as for `load`; without data_dir it is the run's
    quiet, report, read_test, watch: as for `train`

    The same bits need the same machine, versions, device and threads; where these differ, it says so. A run that has
    ended is left alone. Raises LenextError for what the user can mend: a run whose recipe or data were changed, one
    that another process trains, one with no good checkpoint left.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    experiment = asked_for(run, run.experiment, epochs)
    with open_console(quiet) as console, StopSignal() as stop:
        stop.at_once = True  # nothing is lost before training goes on
        check_named(run, experiment, network, data)
        if run.is_finished(experiment):
            early = run.results.get("stopped_early")
            why = "it stopped early, and would at once again" if early else "--epochs gives it more"
            for option, value in (
                ("epochs", epochs),
                ("network", network),
                ("data-dir", data_dir),
                ("offline", offline),
            ):
                if value:
                    raise ConfigurationError(f"--{option}: {run.path} has ended, so it has no effect; {why}")
            console.print(f"{run.path}: nothing to do; its {run.results.get('epochs')} epochs are done; {why}")
            return run
        if isinstance(network, str) and network:  # the file may be elsewhere now
            experiment = replace(experiment, network=absolute_network(network))
        environment_then = run.environment
        data_dir = data_dir or environment_then.get("data_dir")
        with restore_thread_count(), run.locked():
            for folder in (run.path, run.path / "weights"):
                remove_leftovers(folder)
            threads = experiment.recipe.threads
            set_thread_count(environment_then.get("threads", threads) if threads == "auto" else threads)
            found = checkpoint.load_newest(run.checkpoints, lambda line: console.print(f"note: {line}"))
            whole = data or load_data(experiment, data_dir, offline)
            split = split_by_recipe(whole, experiment.recipe)
            job = Job(experiment, split, network or experiment.network, data_dir, offline, bare=found is not None)
            console.write_log(run.path / "train.log")
            session = Session(job, run, console, reads_test=read_test, watch=watch)
            if found:
                session.go_on_from(found[1])
                tell(console, run, session, environment_then)
            else:
                if run.records or run.results or run.weights().exists():
                    raise RunError(
                        f"{run.path}: its checkpoints are gone, so it cannot be gone on with; `lenext train` with "
                        f"--weights {run.weights()} begins anew from what it learned"
                    )
                console.print(f"{run.path}: no checkpoint was made yet; it begins at the start")
                session.write_facts(data_dir)
            write_atomic(run.path / "recipe.yaml", job.experiment.to_yaml())
            if run.results:  # of fewer epochs; what is left of them is how often the test set was read
                run.write_json("results.json", {"test_reads": run.test_reads})
            stop.at_once = False
            session.carry_out(stop)
            if report:
                write_report(run, console, network or experiment.network, whole)
    return run


def asked_for(run: Run, experiment: Experiment, epochs: int | None) -> Experiment:
    """The run's experiment with so many epochs."""
    if epochs is None:
        return experiment
    if epochs < experiment.recipe.epochs:
        raise ConfigurationError(f"epochs={epochs}: {run.path} has {experiment.recipe.epochs} already; give more")
    return replace(experiment, recipe=experiment.recipe.changed({"epochs": epochs}))


def check_named(run: Run, experiment: Experiment, network: str | nn.Module, data: Dataset | None) -> None:
    """What was made in Python, or is code, has to be given again; nothing else may be."""
    own = is_user_network(experiment.network)
    if isinstance(network, str) and own and class_of(network) != class_of(experiment.network):
        raise RunError(f"{run.path}: a network of your own; give --network {experiment.network}, and that file is run")
    if not experiment.network and not isinstance(network, nn.Module):
        raise RunError(f"{run.path}: its network was made in Python; go on there, with resume(..., network=...)")
    if network and experiment.network and not own:
        raise RunError(f"{run.path}: its network is {experiment.network}; leave the other out")
    if experiment.data.startswith(IN_PYTHON) != (data is not None):
        raise RunError(
            f"{run.path}: its data are {experiment.data}; leave the others out"
            if data is not None
            else f"{run.path}: its data were made in Python; go on there, with resume(..., data=...)"
        )


def class_of(network: str) -> str:
    """The class in FILE.py:Class, wherever the file is."""
    return network.rpartition(":")[2] if is_user_network(network) else ""


def tell(console: Console, run: Run, session: Session, then: Mapping[str, Any]) -> None:
    """Say where it goes on, and what differs from the machine that it was begun on; keep both with the run."""
    state, now = session.state, environment(session.job.compute)
    place = f"epoch {state.epoch + 1} of {session.job.recipe.epochs}, after {state.underway.position} steps"
    console.print(f"{run.path}: going on in {place}")
    differing = [f"{key} {then.get(key)} -> {now[key]}" for key in MATTERS if then.get(key) != now[key]]
    if differing:
        console.print(f"note: not the machine it was begun on, so bits may differ: {'; '.join(differing)}")
    console.print()
    history = [*then.get("resumed", []), {"at": place, "command": now["command"], "differing": differing}]
    run.write_json("environment.json", {**then, "resumed": history})
