"""The learning rate: a pure function of the update, and the curve that figures draw."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import fmean

from lenext.data.batches import batch_slices
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.settings import ScheduleSettings

MAX_CURVE_POINTS = 500
RATE_TOLERANCE = 0.01  # of the peak, by which an epoch's recorded mean may differ from the schedule's
ONE_CYCLE_START_DIVISOR = 25.0  # the peak by the first rate
ONE_CYCLE_END_DIVISOR = 1e4  # the first rate by the last
ONE_CYCLE_RISE = 0.3  # of the updates

Curve = tuple[list[float], list[float]]
"""Epochs, as fractions, and learning rates."""


def learning_rate(schedule: ScheduleSettings, update: int) -> float:
    """Return the learning rate of an update, counted from 0.

    one_cycle rises from 1/25 of the peak within the first 30 % of the updates, then falls to nearly zero (Smith and
    Topin, arXiv:1708.07120). cosine (Loshchilov and Hutter, arXiv:1608.03983) and linear fall to zero, after a linear
    rise over the warmup.
    """
    peak, updates, warmup = schedule.peak, schedule.length.updates, schedule.warmup_updates
    if update < warmup:
        return peak * (update + 1) / (warmup + 1)
    if schedule.shape == "constant":
        return peak
    if schedule.shape == "linear":
        return peak * ((updates - update) / (updates - warmup))
    if schedule.shape == "cosine":
        return peak * (1 + math.cos(math.pi * (update - warmup) / (updates - warmup))) / 2
    start = peak / ONE_CYCLE_START_DIVISOR
    end, summit = start / ONE_CYCLE_END_DIVISOR, ONE_CYCLE_RISE * updates - 1
    if update <= summit:
        return half_cosine(start, peak, update / summit if summit else 1.0)
    return half_cosine(peak, end, (update - summit) / (updates - 1 - summit) if updates - 1 > summit else 1.0)


def half_cosine(start: float, end: float, share: float) -> float:
    """Return the value at a share of half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def schedule_of_run(recipe: Recipe, samples: int) -> ScheduleSettings | None:
    """Return the schedule of a run, given the size of its training set; None when it is not known."""
    if isinstance(recipe.batch_size, str) or not samples:
        return None
    batches = len(batch_slices(recipe.samples_per_epoch(samples), recipe.batch_size))
    return ScheduleSettings.from_recipe(recipe, batches)


def is_warming_up(schedule: ScheduleSettings, epoch: int) -> bool:
    """Return whether the learning rate still rises at the end of an epoch."""
    done = epoch * schedule.length.updates_per_epoch
    return 0 < done < schedule.length.updates and learning_rate(schedule, done) > learning_rate(schedule, done - 1)


def learning_rate_curve(schedule: ScheduleSettings | None, records: Sequence[Record]) -> Curve:
    """Return the learning rate by update, over the epochs that are recorded.

    An epoch whose recorded mean is not the schedule's (a run that was resumed with more epochs) is one point in its
    middle, its mean; so is every epoch when the schedule is not known.

    Args:
        schedule: The run's schedule; None when it is not known.
        records: One per epoch.

    Returns:
        Up to `MAX_CURVE_POINTS` points, or one per epoch where there are more epochs. An update is at the place where
        it ends: the last one of epoch 3 at 3.0.
    """
    epochs, rates = list[float](), list[float]()
    last_epoch = max((record.epoch for record in records), default=0)
    shown = shown_updates(schedule, last_epoch) if schedule else []
    for record in records:
        updates: list[int] = []
        if schedule and is_scheduled(schedule, record, last_epoch):
            per_epoch = schedule.length.updates_per_epoch
            first, end = (
                (record.epoch - 1) * per_epoch,
                min(done_updates(schedule, last_epoch), record.epoch * per_epoch),
            )
            updates = shown[bisect_left(shown, first) : bisect_left(shown, end)]
            epochs += [(update + 1) / per_epoch for update in updates]
            rates += [learning_rate(schedule, update) for update in updates]
        if not updates:
            epochs.append(record.epoch - 0.5)
            rates.append(record.learning_rate)
    return epochs, rates


def done_updates(schedule: ScheduleSettings, epochs: int) -> int:
    """Return the number of updates in the first epochs."""
    return min(schedule.length.updates, epochs * schedule.length.updates_per_epoch)


def shown_updates(schedule: ScheduleSettings, epochs: int) -> list[int]:
    """Return the updates of the first epochs that a curve shows, in order.

    They are all of them, or evenly some, with the one of the highest rate and the last one.
    """
    done = done_updates(schedule, epochs)
    if done <= MAX_CURVE_POINTS:
        return list(range(done))

    def falls(update: int) -> bool:
        return learning_rate(schedule, update + 1) <= learning_rate(schedule, update)

    highest = bisect_left(range(done - 1), True, key=falls)
    count = MAX_CURVE_POINTS - 1
    return sorted({*(round(point * (done - 1) / (count - 1)) for point in range(count)), highest})


def is_scheduled(schedule: ScheduleSettings, record: Record, last_epoch: int) -> bool:
    """Return whether an epoch's recorded mean is that of the schedule."""
    per_epoch = schedule.length.updates_per_epoch
    updates = range((record.epoch - 1) * per_epoch, min(done_updates(schedule, last_epoch), record.epoch * per_epoch))
    if not updates:
        return False
    mean = fmean(learning_rate(schedule, update) for update in updates)
    return abs(mean - record.learning_rate) <= RATE_TOLERANCE * schedule.peak
