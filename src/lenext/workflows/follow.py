"""A training's other processes: they compute with the first one, and write nothing."""

import signal
from functools import partial

from lenext.acceleration.memory import keep_freed_memory_until_exit
from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.foundation.errors import ToldElsewhereError, TrainingError
from lenext.foundation.group import Group
from lenext.foundation.signals import StoppedError, StopSignal
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.loop import events, sample_images
from lenext.training.settings import split_by_recipe
from lenext.training.state import TrainingState
from lenext.workflows.context import Context
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.prepare import load_data, with_absolute_paths
from lenext.workflows.processes import beating, check_same, share_state
from lenext.workflows.results import measure_together


def follow(experiment: Experiment, context: Context, reads_test: bool, threads: int | None = None) -> Run:
    """Carry out an experiment together with the first process, which leads.

    Args:
        experiment: What is trained, how, on which data.
        context: Where data are found; it has the processes.
        reads_test: Whether the test set is measured at the end.
        threads: Those of the run, if it is resumed.

    Returns:
        The run that the first process writes.

    Raises:
        ToldElsewhereError: Training was stopped or cannot continue, as the first process says.
        LostProcessError: Another process was lost.
    """
    group = context.group
    with restore_thread_count(), StopSignal() as stop:
        stop.at_once = True
        try:
            job = group.together(lambda: prepare_to_follow(experiment, context, threads))
            check_same(group, job)
            run: Run = group.share(None)
            follow_job(job, group, stop, reads_test)
        except StoppedError as error:
            raise ToldElsewhereError(128 + error.number) from error
        except TrainingError as error:  # of numbers that are the same in all processes
            raise ToldElsewhereError from error
    return run


def prepare_to_follow(experiment: Experiment, context: Context, threads: int | None) -> Job:
    """Return the training; its weights come from the first process."""
    asked = experiment.recipe.threads
    set_thread_count(threads if threads and asked == "auto" else asked)
    data = split_by_recipe(load_data(experiment, context), experiment.recipe)
    return prepare_job(with_absolute_paths(experiment), data, context, load_weights=False)


def follow_job(job: Job, group: Group, stop: StopSignal, reads_test: bool) -> None:
    """Train and measure together with the first process. Raises StoppedError when all agree to stop."""
    group.stop = stop
    keep_freed_memory_until_exit()
    state = TrainingState.begin(job.network, job.settings, partial(sample_images, job.data, job.settings.images))
    stop.at_once = False
    share_state(group, state)
    with beating(group):
        for _ in events(state, job.data, job.settings, group=group):
            if group.is_stopped:
                raise StoppedError(stop.number or signal.SIGTERM)
        if any(group.gather(bool(stop))):
            raise StoppedError(stop.number or signal.SIGTERM)
        stop.at_once = True
        if reads_test and job.data.test is not None:
            measure_together(job, job.data.test, group)
