"""Forecast of the time of a training, from a few steps of a copy of its network."""

import copy
import math
import time
from dataclasses import replace
from statistics import median

from lenext.data.batches import batch_slices
from lenext.foundation.errors import ConfigurationError, TrainingError, is_out_of_memory
from lenext.reporting.console import format_duration
from lenext.training.epoch_plan import images_of_epoch
from lenext.training.loop import events
from lenext.training.settings import resolve
from lenext.training.state import Step, TrainingState
from lenext.workflows.job import Job

MAX_TIMED_STEPS = 8
MAX_TIMED_SECONDS = 5.0
EVALUATION_COST = 1 / 3  # of a training step


def forecast(job: Job, processes: int = 1) -> str:
    """Return how long an epoch and the training will take, in words, if so many processes share each step."""
    try:
        times = step_times(job)
    except (RuntimeError, TypeError) as error:
        return f"not known ({type(job.network).__name__} cannot be copied: {error})"
    if not times:
        return "not known"
    epoch, length = epoch_seconds(job, median(times[1:] or times) / processes), job.settings.schedule.length
    if views := min(job.settings.sampling.feature_views, length.epochs):  # epochs on stored features take little
        plural = "s" if length.epochs > 1 else ""
        return f"about {format_duration(views * epoch)} for {length.epochs} epoch{plural} (from {len(times)} steps)"
    total = f", {format_duration(epoch * length.updates / length.updates_per_epoch)} for {length.epochs}"
    return f"about {format_duration(epoch)} an epoch{total if length.epochs > 1 else ''} (from {len(times)} steps)"


def epoch_seconds(job: Job, step_seconds: float) -> float:
    """Return the seconds of an epoch with its evaluation, given those of a step at full image size."""
    batches, batch_size = job.settings.sampling.batches, job.settings.sampling.batch_size
    evaluated = len(batch_slices(len(job.data.validation), batch_size)) if job.data.validation else 0
    evaluated += batches if job.settings.evaluation.training_samples else 0
    return step_seconds * mean_area(job) * (batches + EVALUATION_COST * evaluated)


def mean_area(job: Job) -> float:
    """Return the mean area of the epochs' images as a fraction of full size: below 1 with progressive resizing."""
    images, schedule = job.settings.images, job.settings.schedule
    if schedule.first_image_size == 1:
        return 1.0
    epochs = schedule.length.epochs
    areas = [math.prod(images_of_epoch(images, schedule, epoch).image_size) for epoch in range(1, epochs + 1)]
    return sum(areas) / (math.prod(images.image_size) * epochs)


def step_times(job: Job) -> list[float]:
    """Return the seconds of the first steps of a copy of the network, the very first included; up to 5 s in all.

    Raises:
        RuntimeError or TypeError: The network cannot be copied.
        ConfigurationError: A step fails.
    """
    recipe = replace(job.recipe, initialization="default", compile="no", progressive_resizing=1.0, steps="all")
    settings = resolve(recipe, job.data, job.settings.images)
    settings = replace(settings, machine=replace(job.settings.machine, compile="no"))
    trial = TrainingState.begin(copy.deepcopy(job.network), settings)
    times: list[float] = []
    begun = last = time.perf_counter()
    try:
        for event in events(trial, job.data, settings):
            if not isinstance(event, Step) or event.phase == "validation":
                break
            float(event.loss)  # waits for the device
            times.append(time.perf_counter() - last)
            last = time.perf_counter()
            if len(times) == MAX_TIMED_STEPS or last - begun > MAX_TIMED_SECONDS:
                break
    except TrainingError:
        pass  # training will report it, with what it has saved by then
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        if is_out_of_memory(error):
            batch_size = job.settings.sampling.batch_size
            raise ConfigurationError(
                f"batch_size={batch_size}: out of memory in the first step; --batch-size {max(1, batch_size // 2)} may "
                "fit, --batch-size auto finds one"
            ) from error
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{job.title}: the first training step fails: {reason}") from error
    return times
