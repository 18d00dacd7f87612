"""Search images by descriptors of 64 numbers: small grey versions of thumbnails, compared by correlation."""

from collections.abc import Callable, Iterable, Sequence
from multiprocessing.pool import ThreadPool
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lenext.data.alignment import to_luma
from lenext.data.dataset import Split
from lenext.data.duplicates import READ_BATCH

THUMBNAIL_PIXELS = 32  # side of thumbnails
DESCRIPTOR_PIXELS = 8  # side of descriptors
SEARCH_BATCH = 512  # descriptors at a time

Result = TypeVar("Result")


def make_thumbnails(splits: Sequence[Split]) -> Tensor:
    """Return the images of all splits as uint8 (N, C, S, S), S at most THUMBNAIL_PIXELS."""
    channels, *sides = splits[0].images.shape[1:]
    side = min(THUMBNAIL_PIXELS, max(sides))
    thumbnails = torch.empty((sum(map(len, splits)), channels, side, side), dtype=torch.uint8)
    filled = 0
    for split in splits:
        for rows in torch.arange(len(split)).split(READ_BATCH):
            images = split.images[rows]
            if tuple(images.shape[2:]) != (side, side):
                images = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
                images = images.round().clamp(0, 255).to(torch.uint8)
            thumbnails[filled : filled + len(images)] = images
            filled += len(images)
    return thumbnails


def compute_descriptors(thumbnails: Tensor, *, flipped: bool = False, margin: float = 0.0) -> Tensor:
    """Return descriptors (N, 64): grey images of 8 x 8 px, minus their mean, scaled to length 1.

    Args:
        thumbnails: (N, C, S, S).
        flipped: Whether the images are mirrored first.
        margin: Fraction of the side that is cut off on each side first.
    """
    border = round(margin * thumbnails.shape[3])
    parts = []
    for images in thumbnails.split(READ_BATCH):
        grey = to_luma(images)
        grey = grey.flip(3) if flipped else grey
        grey = grey[:, :, border : grey.shape[2] - border, border : grey.shape[3] - border]
        small = F.interpolate(
            grey, size=(DESCRIPTOR_PIXELS, DESCRIPTOR_PIXELS), mode="bilinear", antialias=True
        ).flatten(1)
        parts.append(F.normalize(small - small.mean(1, keepdim=True), eps=1.0))
    return torch.cat(parts)


def match_groups(
    descriptors: Tensor, plain: Tensor, bounds: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return for each descriptor the difference to the closest other in each group (N, G), and its row (N, G)."""
    differences = np.empty((len(descriptors), len(bounds)), dtype=np.float32)
    matches = np.empty((len(descriptors), len(bounds)), dtype=np.int64)

    def match(group: int) -> None:
        begin, end = bounds[group]
        table = plain[begin:end].T.contiguous()
        scratch = torch.empty(SEARCH_BATCH, end - begin)
        for start in range(0, len(descriptors), SEARCH_BATCH):
            rows = descriptors[start : start + SEARCH_BATCH]
            correlations = torch.mm(rows, table, out=scratch[: len(rows)])
            itself = torch.arange(start, start + len(rows))
            itself = itself[(itself >= begin) & (itself < end)]
            correlations[itself - start, itself - begin] = -1.0
            closest = correlations.numpy().argmax(1)  # several times as fast as torch's
            matches[start : start + SEARCH_BATCH, group] = closest + begin
            differences[start : start + SEARCH_BATCH, group] = 1 - correlations.numpy()[np.arange(len(rows)), closest]

    map_on_cores(match, range(len(bounds)))
    return differences, matches


def map_on_cores(function: Callable[[int], Result], items: Iterable[int]) -> list[Result]:
    """Apply a function on as many threads as torch has, with torch single-threaded in each.

    If all threads share one small operation after the other, they mostly wait: on a busy machine a hundredfold.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPool(threads) as pool:
            return pool.map(function, items, chunksize=1)
    finally:
        torch.set_num_threads(threads)
