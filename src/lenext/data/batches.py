"""Batches of a split, in an order and with random numbers that depend on nothing but (seed, epoch)."""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lenext.data.augment import DRAWS_PER_IMAGE, Augmentation
from lenext.data.dataset import Images, Split
from lenext.data.image_files import ImageFiles
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.memory import available_bytes
from lenext.foundation.seeds import generator

GROUP_VALUES = 1 << 20  # pixel values that are prepared in one go
PREFETCHED_BATCHES = 2  # of images in files, decoded before they are asked for
MAX_MEMORY_FRACTION = 0.3  # of an accelerator's free memory, for the images of a split
QUEUE_SECONDS = 0.1  # between looks at whether prefetched batches are still wanted


class Batch(NamedTuple):
    """Samples as the network takes them.

    Attributes:
        images: (N, C, H, W), float32, on the device.
        labels: (N,), int64, on the device.
        rows: (N,), int64, the samples' rows in their split.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """The samples that an epoch visits, and the random numbers of their augmentation.

    Attributes:
        rows: (M,), int64, rows of the split in the order of the epoch.
        numbers: (M, DRAWS_PER_IMAGE), in [0, 1), by position in that order.
    """

    rows: Tensor
    numbers: Tensor


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Return the slices of batches. A last batch of one sample, on which batch norm fails, joins the one before."""
    ends = [*range(batch_size, count, batch_size), count]
    if len(ends) > 1 and batch_size > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def draw_epoch_order(
    count: int, seed: int, epoch: int, *, shuffle: bool = True, balanced_labels: Tensor | None = None
) -> EpochOrder:
    """Draw the order and the random numbers of an epoch.

    Args:
        count: The number of samples.
        seed: The recipe's seed.
        epoch: The epoch, from 1.
        shuffle: Whether the order is drawn, or is that of the split.
        balanced_labels: The samples' labels (N,) when every class is to be drawn equally often, with replacement.
    """
    random = generator(seed, epoch)
    rows = torch.randperm(count, generator=random) if shuffle else torch.arange(count)
    numbers = torch.rand(count, DRAWS_PER_IMAGE, generator=random)
    if balanced_labels is not None:
        weights = 1 / balanced_labels.bincount()[balanced_labels].double()
        rows = torch.multinomial(weights, count, replacement=True, generator=random)
    return EpochOrder(rows, numbers)


def move_to_device(split: Split, compute: Compute) -> Split:
    """Return the split with its images in the accelerator's memory, when they are a tensor that fits there well."""
    images = split.images
    if compute.device.type == "cpu" or not isinstance(images, Tensor):
        return split
    if images.nbytes > MAX_MEMORY_FRACTION * available_bytes(compute.device):
        return split
    return replace(split, images=images.to(compute.device), labels=split.labels.to(compute.device))


def training_batches(
    split: Split,
    order: EpochOrder,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    compute: Compute,
    batch_size: int,
    *,
    start: int = 0,
    select: Callable[[slice], slice] | None = None,
) -> Iterator[Batch]:
    """Yield the batches of an epoch, augmented, from position `start` on.

    Args:
        split: The training samples.
        order: In which the epoch visits them.
        preprocessing: How they reach the network.
        augmentation: Their random changes.
        compute: The device and its arithmetic.
        batch_size: Samples per batch.
        start: The first position.
        select: Returns which samples of a batch are loaded; None for all.
    """
    order_rows = order.rows.to(split.labels.device)
    numbers = order.numbers.to(compute.device) if augmentation else order.numbers
    blank = [255 * mean for mean in preprocessing.normalization.mean]

    def load(part: slice) -> Batch:
        rows = order_rows[part]
        pixels = compute.move_images(take_rows(split.images, rows))
        if augmentation and len(rows):
            pixels = augmentation(pixels, numbers[part], blank)
        return finish_batch(split, preprocessing, compute, rows, pixels)

    slices = batch_slices(len(order.rows), batch_size)
    if select:
        yield from prefetch(split, map(load, map(select, slices[start:])))
        return
    yield from prefetch(split, load_in_groups(load, slices, preprocessing, start))


def batches(split: Split, preprocessing: Preprocessing, compute: Compute, batch_size: int) -> Iterator[Batch]:
    """Yield every sample once, in the order of the split, without augmentation."""
    load, slices = partial(load_batch, split, preprocessing, compute), batch_slices(len(split), batch_size)
    yield from prefetch(split, load_in_groups(load, slices, preprocessing, 0))


def some_batches(
    split: Split, parts: Iterable[slice], preprocessing: Preprocessing, compute: Compute
) -> Iterator[Batch]:
    """Yield these parts of a split, without augmentation."""
    yield from prefetch(split, map(partial(load_batch, split, preprocessing, compute), parts))


def load_batch(split: Split, preprocessing: Preprocessing, compute: Compute, part: slice) -> Batch:
    """Return a part of a split without augmentation."""
    rows = torch.arange(part.start, part.stop, device=split.labels.device)
    return finish_batch(split, preprocessing, compute, rows, compute.move_images(take_rows(split.images, rows)))


def finish_batch(split: Split, preprocessing: Preprocessing, compute: Compute, rows: Tensor, pixels: Tensor) -> Batch:
    """Return the batch of these rows, whose pixels (N, C, H, W) are on the device."""
    labels = split.labels[rows].to(compute.device, non_blocking=True)
    return Batch(compute.move_images(preprocessing(pixels)), labels, rows)


def take_rows(images: Images, rows: Tensor) -> Tensor:
    """Return the images of these rows; `index_select` takes a ninth of the time of indexing."""
    return images.index_select(0, rows) if isinstance(images, Tensor) else images[rows]


def load_in_groups(
    load: Callable[[slice], Batch], slices: Sequence[slice], preprocessing: Preprocessing, start: int
) -> Iterator[Batch]:
    """Yield the batches from position `start` on; small ones are loaded several at a time.

    The same batches always make a group, so that a batch has the same bits wherever an epoch is resumed.
    """
    values = math.prod(preprocessing.input_shape) * (slices[0].stop - slices[0].start)
    group_size = max(1, GROUP_VALUES // values)
    for first in range(start // group_size * group_size, len(slices), group_size):
        group = slices[first : first + group_size]
        offset = group[0].start
        images, labels, rows = load(slice(offset, group[-1].stop))
        for part in group[max(0, start - first) :]:
            inside = slice(part.start - offset, part.stop - offset)
            yield Batch(images[inside], labels[inside], rows[inside])


def prefetch(split: Split, loaded: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the same batches; a thread decodes image files while the batch before is computed with."""
    if not isinstance(split.images, ImageFiles):
        yield from loaded
        return
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(PREFETCHED_BATCHES)
    is_closed = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not is_closed.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=QUEUE_SECONDS)
                return

    def decode() -> None:
        try:
            for batch in loaded:
                put(batch)
                if is_closed.is_set():
                    return
            put(None)
        except BaseException as error:  # it is raised again where the batches are consumed
            put(error)

    thread = threading.Thread(target=decode, name="decoding", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_closed.set()
        thread.join(1.0)  # no longer, as it may wait for a disk that is gone
