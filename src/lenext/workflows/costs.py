"""The cost of each contestant, measured in turns, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch

from lenext.acceleration.placement import place_network
from lenext.acceleration.threads import restore_thread_count, set_thread_count
from lenext.data.dataset import Dataset
from lenext.data.image_files import ImageFiles
from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.modes import evaluation_mode
from lenext.foundation.progress import count_bar
from lenext.foundation.timing import synchronize
from lenext.inspection.summary import summarize
from lenext.training.experiment import Experiment
from lenext.training.settings import split_by_recipe
from lenext.workflows.batch_size import BYTES_PER_PARAMETER
from lenext.workflows.context import Context
from lenext.workflows.job import Job, prepare_job
from lenext.workflows.machine import machine
from lenext.workflows.prepare import load_data
from lenext.workflows.timing import epoch_seconds, step_times

ROUNDS, LATENCY_CALLS = 3, 10
Timing = Literal["no", "roughly", "in turn"]


@dataclass(frozen=True)
class Cost:
    """The cost of a contestant.

    Attributes:
        parameters: Their number.
        multiply_adds: Of one image, forward.
        memory: Bytes of a training step, estimated.
        latency: Seconds for a batch of one image.
        step: Seconds of a training step, if it was timed.
        epoch: Seconds of an epoch with its validation, if a step was timed.
        batches: Per epoch.
        uncounted: Whether the network has operations whose multiply-adds are unknown.
    """

    parameters: int
    multiply_adds: int
    memory: int
    latency: float
    step: float | None = None
    epoch: float | None = None
    batches: int = 0
    uncounted: bool = False


def build_jobs(
    experiments: Mapping[str, Experiment], data: Dataset, context: Context
) -> tuple[dict[str, Job], dict[str, str]]:
    """Build each contestant's network and check it against the data.

    Returns:
        The jobs, and for each contestant that does not fit the data the reason.
    """
    jobs, misfits = {}, {}
    for name, experiment in experiments.items():
        try:
            split = split_by_recipe(load_at_size(data, experiment, context), experiment.recipe)
            jobs[name] = prepare_job(experiment, split, context)
        except LenextError as error:
            misfits[name] = str(error)
    return jobs, misfits


def describe_machine(job: Job) -> str:
    """Return the machine that trains, with the threads that the job asks for, in a line."""
    with restore_thread_count():
        set_thread_count(job.recipe.threads)
        return machine(job.compute)


def load_at_size(data: Dataset, experiment: Experiment, context: Context) -> Dataset:
    """Return the data, loaded again if they are files that this experiment needs at another image size."""
    size = experiment.recipe.image_size
    if isinstance(data.train.images, ImageFiles) and size not in ("auto", *data.shape[1:]):
        return load_data(experiment, context)
    return data


def measure_costs(jobs: Mapping[str, Job], timing: Timing = "roughly") -> dict[str, Cost]:
    """Measure each job's cost.

    Args:
        jobs: The trainings, by contestant.
        timing: Whether steps are timed, which takes seconds; a budget of time needs `in turn`.

    Raises:
        ConfigurationError: `in turn`, and a job's steps cannot be timed.
    """
    steps: dict[str, list[float]] = {name: [] for name in jobs}
    latencies: dict[str, list[float]] = {name: [] for name in jobs}
    with count_bar("measuring costs", ROUNDS * len(jobs), min_total=2 * ROUNDS) as advance:
        for number in range(ROUNDS):
            for name, job in jobs.items():
                with restore_thread_count():
                    set_thread_count(job.recipe.threads)
                    latencies[name] += time_inference(job, warm_up=number == 0)
                    if timing == "in turn" or (timing == "roughly" and number == 0):
                        steps[name] += time_steps(name, job, required=timing == "in turn")
                advance(1)
    costs = {}
    for name, job in jobs.items():
        sampling = job.settings.sampling
        summary = summarize(job.network, job.settings.images.input_shape)
        memory = (
            summary.training_bytes + summary.evaluation_bytes
        ) * sampling.batch_size + BYTES_PER_PARAMETER * summary.parameters
        if timing == "in turn" and not steps[name]:
            raise ConfigurationError(f"{name}: its steps could not be timed; give --epochs instead of a time")
        step = median(steps[name]) if steps[name] else None
        epoch = None if step is None else epoch_seconds(job, step)
        costs[name] = Cost(
            summary.parameters, summary.multiply_adds, memory, median(latencies[name]), step, epoch, sampling.batches,
            bool(summary.uncounted),
        )  # fmt: skip
    return costs


def time_steps(name: str, job: Job, *, required: bool) -> list[float]:
    """Time a few training steps, in seconds, without the first.

    If exact times are not required, the only step of an epoch is enough, and steps that fail give no times: the
    training will report why.
    """
    try:
        times = step_times(job)
        return times[1:] or ([] if required else times)
    except Exception as error:  # a user-defined network may raise anything
        if not required:
            return []
        if not isinstance(error, RuntimeError | TypeError):
            raise
        raise ConfigurationError(f"{name}: its steps cannot be timed ({error}); give --epochs, not a time") from error


def time_inference(job: Job, *, warm_up: bool) -> list[float]:
    """Time predictions of one image, in seconds, on the job's device."""
    network = place_network(job.network, job.compute, fast_layers=job.settings.machine.fast_layers)
    images = job.compute.move_images(torch.zeros(1, *job.settings.images.input_shape))
    times = []
    with evaluation_mode(network), torch.inference_mode(), job.compute.autocast():
        for _ in range(LATENCY_CALLS + 2 * warm_up):
            start = time.perf_counter()
            network(images)
            synchronize(job.compute.device)
            times.append(time.perf_counter() - start)
    return times[2 * warm_up :]
