"""Batches of a split, in an order and with random numbers that depend on nothing but (seed, epoch)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lenext.data.augment import DRAWS, Augmentation
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.seeds import generator

Batch = tuple[Tensor, Tensor]
"""Images (N, C, H, W) as the network takes them, labels (N,); both on the device."""


def cuts(count: int, batch_size: int) -> list[slice]:
    """Where batches begin and end. A last batch of one picture, on which batch norm fails, joins the one before."""
    ends = [*range(batch_size, count, batch_size), count]
    if len(ends) > 1 and batch_size > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def draw_epoch(count: int, seed: int, epoch: int, shuffle: bool) -> tuple[Tensor, Tensor]:
    """The order (N,) of an epoch and a table (N, DRAWS) of numbers in [0, 1) by position in it."""
    draw = generator(seed, epoch)
    order = torch.randperm(count, generator=draw) if shuffle else torch.arange(count)
    return order, torch.rand(count, DRAWS, generator=draw)


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
    start: int = 0,
) -> Iterator[Batch]:
    """The batches of an epoch from position `start` on."""
    order, table = draw_epoch(len(split), seed, epoch, shuffle)
    blank = [255 * mean for mean in preprocessing.normalization.mean]
    for cut in cuts(len(split), batch_size)[start:]:
        rows = order[cut]
        pixels = split.images[rows].to(compute.device, non_blocking=True)
        if augmentation:
            pixels = augmentation(pixels, table[cut].to(compute.device, non_blocking=True), blank)
        yield compute.images(preprocessing(pixels)), split.labels[rows].to(compute.device, non_blocking=True)


def batches(split: Split, preprocessing: Preprocessing, compute: Compute, batch_size: int) -> Iterator[Batch]:
    """Every picture once, in the order of the split, as it is."""
    rows = torch.arange(len(split))
    for cut in cuts(len(split), batch_size):
        pixels = split.images[rows[cut]].to(compute.device, non_blocking=True)
        yield compute.images(preprocessing(pixels)), split.labels[cut].to(compute.device, non_blocking=True)
