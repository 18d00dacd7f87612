"""What contestants cost, measured in turn, so that the load of the machine falls on all of them alike."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from lenext.acceleration.placement import place_network
from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.comparison.standings import Cost
from lenext.data.dataset import Dataset
from lenext.data.images import ImageFiles
from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.modes import evaluation_mode
from lenext.foundation.timing import synchronize
from lenext.inspection.summary import summarize
from lenext.training.experiment import Experiment
from lenext.training.settings import split_by_recipe
from lenext.workflows.batch_size import BY_WEIGHT
from lenext.workflows.context import Context
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.machine import machine
from lenext.workflows.prepare import load_data
from lenext.workflows.timing import epoch_seconds, step_times

ROUNDS, CALLS = 3, 10
Timing = Literal["no", "roughly", "in turn"]


def jobs_of(
    experiments: Mapping[str, Experiment], data: Dataset, data_dir: str | Path | None, offline: bool
) -> dict[str, Job]:
    """Each contestant's network on the data, tried. Raises ConfigurationError with what the doctor says of all that
    do not fit."""
    found, misfits = {}, []
    for name, experiment in experiments.items():
        try:
            split = split_by_recipe(at_size(data, experiment, data_dir, offline), experiment.recipe)
            found[name] = prepare_job(experiment, split, Context(data_dir, offline))
        except LenextError as error:
            misfits.append(str(error))
    if misfits:
        raise ConfigurationError("; ".join(dict.fromkeys(misfits)))
    return found


def machine_of(jobs: Mapping[str, Job]) -> str:
    """What the contestants are trained on, with the threads that they ask for, in a line."""
    first = next(iter(jobs.values()))
    with restore_thread_count():
        set_thread_count(first.recipe.threads)
        return machine(first.compute)


def at_size(data: Dataset, experiment: Experiment, data_dir: str | Path | None, offline: bool) -> Dataset:
    """The data, loaded anew where they are files that are brought to another size for this experiment."""
    size = experiment.recipe.image_size
    if isinstance(data.train.images, ImageFiles) and size not in ("auto", *data.shape[1:]):
        return load_data(experiment, Context(data_dir, offline))
    return data


def costs_of(jobs: Mapping[str, Job], timing: Timing = "roughly") -> dict[str, Cost]:
    """Each contestant's cost. timing: of steps, which takes seconds; those of a time budget have to be timed."""
    steps: dict[str, list[float]] = {name: [] for name in jobs}
    latencies: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(ROUNDS):
        for name, job in jobs.items():
            with restore_thread_count():
                set_thread_count(job.recipe.threads)
                latencies[name] += answer_times(job, warm=number == 0)
                if timing == "in turn" or (timing == "roughly" and number == 0):
                    steps[name] += timed_steps(name, job, must=timing == "in turn")
    found = {}
    for name, job in jobs.items():
        seen = summarize(job.network, job.settings.images.input_shape)
        memory = (
            seen.training_bytes + seen.evaluation_bytes
        ) * job.settings.sampling.batch_size + BY_WEIGHT * seen.parameters
        if timing == "in turn" and not steps[name]:
            raise ConfigurationError(f"{name}: its steps could not be timed; give --epochs instead of a time")
        step = median(steps[name]) if steps[name] else None
        epoch = None if step is None else epoch_seconds(job, step)
        latency = median(latencies[name])
        found[name] = Cost(
            seen.parameters,
            seen.multiply_adds,
            memory,
            latency,
            step,
            epoch,
            job.settings.sampling.batches,
            bool(seen.uncounted),
        )
    return found


def timed_steps(name: str, job: Job, *, must: bool) -> list[float]:
    """Seconds of a few training steps, without the first; of the only one where there are no more and they need not be
    exact. None where they cannot be timed, as training will tell why; ConfigurationError where they must be.
    """
    try:
        times = step_times(job)
        return times[1:] or ([] if must else times)
    except Exception as error:  # a network of one's own may raise anything
        if not must:
            return []
        if not isinstance(error, RuntimeError | TypeError):
            raise
        raise ConfigurationError(f"{name}: its steps cannot be timed ({error}); give --epochs, not a time") from error


def answer_times(job: Job, *, warm: bool) -> list[float]:
    """Seconds that one image takes, as the job computes."""
    network = place_network(job.network, job.compute)
    images = job.compute.move_images(torch.zeros(1, *job.settings.images.input_shape))
    found = []
    with evaluation_mode(network), torch.inference_mode(), job.compute.autocast():
        for _ in range(CALLS + 2 * warm):
            begun = time.perf_counter()
            network(images)
            synchronize(job.compute.device)
            found.append(time.perf_counter() - begun)
    return found[2 * warm :]
