"""What the schedule of the learning rate means for records: whether it still rises, and its curve by update."""

from bisect import bisect_left
from collections.abc import Sequence
from statistics import fmean

from lenext.data.batches import batch_slices
from lenext.training.optim import learning_rate
from lenext.training.recipe import Recipe
from lenext.training.state import Record

MAX_POINTS = 500  # of a curve
SAME_RATE = 0.01  # of the highest rate, by which an epoch's recorded mean may differ from the schedule's

Curve = tuple[list[float], list[float]]
"""Epochs, as fractions, and learning rates."""


def batches_per_epoch(recipe: Recipe, samples: int) -> int:
    """Return the number of batches per epoch, given the size of the training set; 0 where it is not known."""
    if isinstance(recipe.batch_size, str) or not samples:
        return 0
    return len(batch_slices(recipe.samples_per_epoch(samples), recipe.batch_size))


def is_warming_up(recipe: Recipe, batches: int, epoch: int) -> bool:
    """Whether the learning rate still rises at the end of an epoch."""
    each, total = recipe.length(batches)
    done = epoch * each
    return 0 < done < total and (
        learning_rate(recipe, done, total, each) > learning_rate(recipe, done - 1, total, each)
    )


def learning_rate_curve(recipe: Recipe, batches: int, records: Sequence[Record]) -> Curve:
    """Return the learning rate by update, over the epochs that are recorded.

    An epoch whose recorded mean is not the schedule's (a run that was resumed with more epochs) is one point in its
    middle, its mean; so is every epoch where `batches` is 0.

    Args:
        recipe: the run's recipe.
        batches: per epoch; 0 where it is not known.
        records: one per epoch.

    Returns:
        Up to `MAX_POINTS` points, or one per epoch where there are more epochs. An update lies where it ends: the last
        one of epoch 3 at 3.0.
    """
    each, total = recipe.length(batches) if batches else (0, 0)
    done = min(total, max((record.epoch for record in records), default=0) * each)
    shown = shown_updates(recipe, done, total, each) if done else []
    epochs, rates = list[float](), list[float]()
    for record in records:
        first, end = (record.epoch - 1) * each, min(done, record.epoch * each)
        updates = shown[bisect_left(shown, first) : bisect_left(shown, end)]
        if updates and is_scheduled(recipe, record, first, end, total, each):
            epochs += [(update + 1) / each for update in updates]
            rates += [learning_rate(recipe, update, total, each) for update in updates]
        else:
            epochs.append(record.epoch - 0.5)
            rates.append(record.learning_rate)
    return epochs, rates


def shown_updates(recipe: Recipe, done: int, total: int, each: int) -> list[int]:
    """Return the updates that a curve shows, in order: all of them, or evenly some, with the highest rate and the last
    one."""
    if done <= MAX_POINTS:
        return list(range(done))

    def falls(update: int) -> bool:
        return learning_rate(recipe, update + 1, total, each) <= learning_rate(recipe, update, total, each)

    highest = bisect_left(range(done - 1), True, key=falls)
    count = MAX_POINTS - 1
    return sorted({*(round(at * (done - 1) / (count - 1)) for at in range(count)), highest})


def is_scheduled(recipe: Recipe, record: Record, first: int, end: int, total: int, each: int) -> bool:
    """Whether an epoch's recorded mean is that of the schedule's updates from `first` to `end`."""
    mean = fmean(learning_rate(recipe, update, total, each) for update in range(first, end))
    return abs(mean - record.learning_rate) <= SAME_RATE * float(recipe.with_defaults().learning_rate)
