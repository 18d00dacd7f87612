"""Batches of a split, in an order and with random numbers that depend on nothing but (seed, epoch)."""

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lenext.data.augment import DRAWS_PER_IMAGE, FLIP, Augmentation
from lenext.data.dataset import Images, Split
from lenext.data.images import ImageFiles
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.memory import available_bytes
from lenext.foundation.seeds import generator

Batch = tuple[Tensor, Tensor]
"""Images (N, C, H, W) as the network takes them, labels (N,); both on the device."""

TOGETHER = 1 << 20  # values of images that are prepared in one go
AHEAD = 2  # batches that are decoded before they are asked for
SHARE = 0.3  # of an accelerator's free memory that the images may take


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Where batches begin and end. A last batch of one image, on which batch norm fails, joins the one before."""
    ends = [*range(batch_size, count, batch_size), count]
    if len(ends) > 1 and batch_size > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def draw_epoch_order(
    count: int, seed: int, epoch: int, shuffle: bool, balanced: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The order (N,) of an epoch and a table (N, DRAWS) of numbers in [0, 1) by position in it.

    balanced: the labels (N,), where each class is to be drawn as often as any other, with replacement.
    """
    draw = generator(seed, epoch)
    order = torch.randperm(count, generator=draw) if shuffle else torch.arange(count)
    table = torch.rand(count, DRAWS_PER_IMAGE, generator=draw)
    if balanced is not None:
        chances = 1 / balanced.bincount()[balanced].double()
        order = torch.multinomial(chances, count, replacement=True, generator=draw)
    return order, table


def move_to_device(split: Split, compute: Compute) -> Split:
    """The split with its images in the accelerator's memory, where they are a tensor that fits there well."""
    images = split.images
    if compute.device.type == "cpu" or not isinstance(images, Tensor):
        return split
    if images.nbytes > SHARE * available_bytes(compute.device):
        return split
    return replace(split, images=images.to(compute.device), labels=split.labels.to(compute.device))


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    compute: Compute,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    balanced: bool = False,
    start: int = 0,
    mirrored: Tensor | None = None,
) -> Iterator[Batch]:
    """The batches of an epoch from position `start` on.

    mirrored: a number by row of the split, in the place of the one that is drawn for flips.
    """
    labels = split.labels.cpu() if balanced else None
    order, table = draw_epoch_order(len(split), seed, epoch, shuffle, labels)
    if mirrored is not None:
        table[:, FLIP] = mirrored[order]
    order = order.to(split.labels.device)
    table = table.to(compute.device) if augmentation else table
    blank = [255 * mean for mean in preprocessing.normalization.mean]

    def prepared(some: slice) -> Batch:
        change = partial(augmentation, numbers=table[some], blank=blank) if augmentation else None
        return batch_of(split, preprocessing, compute, order[some], change)

    yield from prefetch(split, chunked(prepared, batch_slices(len(split), batch_size), preprocessing, start))


def batches(split: Split, preprocessing: Preprocessing, compute: Compute, batch_size: int) -> Iterator[Batch]:
    """Every image once, in the order of the split, as it is."""
    prepared = partial(load_batch, split, preprocessing, compute)
    yield from prefetch(split, chunked(prepared, batch_slices(len(split), batch_size), preprocessing, 0))


def load_batch(split: Split, preprocessing: Preprocessing, compute: Compute, some: slice) -> Batch:
    """These images of a split as they are."""
    rows = torch.arange(some.start, some.stop, device=split.labels.device)
    return batch_of(split, preprocessing, compute, rows)


def batch_of(
    split: Split,
    preprocessing: Preprocessing,
    compute: Compute,
    rows: Tensor,
    change: Callable[[Tensor], Tensor] | None = None,
) -> Batch:
    """These rows of a split, their images changed before they are prepared, if so asked."""
    pixels = compute.move_images(take_rows(split.images, rows))
    images = preprocessing(change(pixels) if change else pixels)
    return compute.move_images(images), split.labels[rows].to(compute.device, non_blocking=True)


def take_rows(images: Images, rows: Tensor) -> Tensor:
    """These images; of a tensor by the function that takes a ninth of the time of indexing."""
    return images.index_select(0, rows) if isinstance(images, Tensor) else images[rows]


def chunked(
    prepared: Callable[[slice], Batch], parts: Sequence[slice], preprocessing: Preprocessing, start: int
) -> Iterator[Batch]:
    """The batches from position `start` on; small ones are prepared several at a time, always the same ones together,
    so that a batch has the same bits wherever the epoch is begun."""
    values = math.prod(preprocessing.input_shape) * (parts[0].stop - parts[0].start)
    group = max(1, TOGETHER // values)
    for first in range(start // group * group, len(parts), group):
        some = parts[first : first + group]
        images, labels = prepared(slice(some[0].start, some[-1].stop))
        for cut in some[max(0, start - first) :]:
            here = slice(cut.start - some[0].start, cut.stop - some[0].start)
            yield images[here], labels[here]


def prefetch(split: Split, made: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; those of images in files are decoded by a thread while the one before is computed with."""
    if not isinstance(split.images, ImageFiles):
        yield from made
        return
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    given_up = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not given_up.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for batch in made:
                put(batch)
                if given_up.is_set():
                    return
            put(None)
        except BaseException as error:  # it belongs to who asked for the batches
            put(error)

    thread = threading.Thread(target=work, name="decoding", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        given_up.set()
        thread.join(1.0)  # no longer, as it may wait for a disk that is gone
