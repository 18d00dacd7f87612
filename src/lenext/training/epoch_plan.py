"""The plan of an epoch: what it visits, in which order, at which learning rates. A pure function of the settings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lenext.data.augment import FLIP
from lenext.data.batches import EpochOrder, batch_slices, draw_epoch_order
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.seeds import generator, seeds
from lenext.training.schedule import learning_rate
from lenext.training.settings import ScheduleSettings, Settings

STEP_SEEDS = 1  # the position of the seeds of steps among the random numbers of an epoch


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The steps of an epoch, before they are taken.

    Attributes:
        epoch: From 1.
        order: The samples in the order of the epoch, and the random numbers of their augmentation.
        slices: The samples of each batch, in that order; the last epoch may be cut short.
        images: How images reach the network; with progressive resizing they are smaller at first.
        trains_stem: Whether the first layer learns.
        learning_rates: Of each batch's update.
        seeds: Of what the network and its loss draw, for each batch.
        shares: The share of each batch in its update.
        ends_update: Whether the update comes after this batch.
    """

    epoch: int
    order: EpochOrder
    slices: list[slice]
    images: Preprocessing
    trains_stem: bool
    learning_rates: list[float]
    seeds: list[int]
    shares: list[float]
    ends_update: list[bool]

    @property
    def batches(self) -> int:
        """The number of batches."""
        return len(self.slices)


def plan_epoch(
    settings: Settings,
    epoch: int,
    split: Split,
    rows: Tensor | None = None,
    batch_weight: Callable[[Tensor], Tensor] | None = None,
) -> EpochPlan:
    """Plan an epoch.

    Args:
        settings: How the network is trained.
        epoch: From 1.
        split: The training samples.
        rows: The rows (M,) that the epoch takes; None for all.
        batch_weight: What a batch of labels (N,) counts in an update of several; None for its number of samples.
    """
    sampling, schedule = settings.sampling, settings.schedule
    slices = batch_slices(sampling.samples, sampling.batch_size)
    batches = min(len(slices), batches_left(schedule, epoch))
    order = order_of_epoch(settings, epoch, split, rows)
    weights = [float(part.stop - part.start) for part in slices[:batches]]
    if batch_weight is not None and schedule.accumulate_batches > 1:
        labels = split.labels[order.rows.to(split.labels.device)]
        weights = [float(batch_weight(labels[part])) for part in slices[:batches]]
    first_update = (epoch - 1) * schedule.length.updates_per_epoch
    shares, ends_update = share_updates(weights, schedule.accumulate_batches)
    return EpochPlan(
        epoch=epoch,
        order=order,
        slices=slices[:batches],
        images=images_of_epoch(settings.images, schedule, epoch),
        trains_stem=schedule.stem_epochs is None or epoch <= schedule.stem_epochs,
        learning_rates=[
            learning_rate(schedule, first_update + position // schedule.accumulate_batches)
            for position in range(batches)
        ],
        seeds=seeds(len(slices), sampling.seed, epoch, STEP_SEEDS),
        shares=shares,
        ends_update=ends_update,
    )


def batches_left(schedule: ScheduleSettings, epoch: int) -> int:
    """Return the number of batches from the beginning of an epoch to the end of training."""
    done = (epoch - 1) * schedule.length.updates_per_epoch
    return (schedule.length.updates - done) * schedule.accumulate_batches


def order_of_epoch(settings: Settings, epoch: int, split: Split, rows: Tensor | None = None) -> EpochOrder:
    """Return the order in which an epoch visits its samples, and the random numbers of their augmentation."""
    sampling = settings.sampling
    order = draw_epoch_order(
        sampling.samples,
        sampling.seed,
        epoch,
        shuffle=sampling.shuffle,
        balanced_labels=split.labels.cpu() if sampling.balanced else None,
    )
    if rows is not None:
        order = EpochOrder(rows[order.rows], order.numbers)
    if sampling.alternating_flips:
        flips = torch.rand(len(split), generator=generator(sampling.seed, 0))  # below 0.5 in every other epoch
        order.numbers[:, FLIP] = (flips if epoch % 2 else 1 - flips)[order.rows]
    return order


def images_of_epoch(images: Preprocessing, schedule: ScheduleSettings, epoch: int) -> Preprocessing:
    """Return how an epoch's images reach the network.

    Progressive resizing grows them in steps of 4 px to full size by two thirds of the epochs; the last epoch has full
    size in any case.
    """
    epochs, first = schedule.length.epochs, schedule.first_image_size
    if epoch == epochs:
        return images
    share = first + (1 - first) * min(1.0, 1.5 * (epoch - 1) / epochs)
    return images if share >= 1 else images.shrink(share)


def share_updates(weights: list[float], accumulate_batches: int) -> tuple[list[float], list[bool]]:
    """Return the share of each batch in its update, and whether the update comes after it.

    The sum of the gradients is that of one large batch: a batch counts by its samples (or their class weights). The
    last batches of an epoch make an update.

    Args:
        weights: What each batch of the epoch counts.
        accumulate_batches: Batches per update.
    """
    shares, ends_update = list[float](), list[bool]()
    for first in range(0, len(weights), accumulate_batches):
        group = weights[first : first + accumulate_batches]
        shares += [weight / sum(group) for weight in group]
        ends_update += [False] * (len(group) - 1) + [True]
    return shares, ends_update
