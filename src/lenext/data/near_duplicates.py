"""Near duplicates: the same image compressed anew, resized, brighter, grey, mirrored or slightly cropped.

Every image is compared with every other one by a descriptor of 64 numbers, also mirrored and with its margins cut off.
The best matches are then laid over one another at a higher resolution. A pair is a copy if what differs is little by
itself, and very little beside what the closest unrelated images of the same data differ by: any two photographs
differ more than two versions of one, while digits of different writers can be hard to tell apart.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lenext.data.alignment import align, blur, difference, similarity, to_luma, warp
from lenext.data.dataset import Split
from lenext.data.duplicates import CHUNK, SampleLocation
from lenext.foundation.progress import count_bar
from lenext.foundation.seeds import generator

SIDE = 32  # px a side at which pairs are verified
COARSE_SIDE = 8  # px a side of the descriptor by which they are searched
FLAT = 3.0  # standard deviation in grey levels below which an image is blank and resembles every other blank one
GROUPS = 16  # each image is compared with the closest one of each group; the median is what unrelated images differ by
LEAST_GROUPS = 5  # with fewer images there is nothing to compare a pair with
DENSEST = 0.02  # share of the images that may be so many copies of one that each group has one
BLOCK, PAIRS = 512, 128  # images searched, and pairs verified, in one go
COARSE_LIMIT, LIMIT = 0.3, 0.04  # 1 - correlation from which on a match is not verified, and is no copy
SAME_LIMIT = 5e-4  # the same, below which a pair is a copy even if most groups have one (many copies of one image)
DOUBTFUL = 4  # times as much, beside the difference of descriptors to unrelated images, is not looked into further
BLUR = 3  # px a side; what is smaller is left out of the comparison
STRUCTURE_LIMIT = 0.85  # structural similarity below which two images have only their large shapes in common
COLOUR_LIMIT = 0.1  # the same in colour, where both images have any
COLOURED = 4.0  # mean difference in grey levels between the channels of an image in colour
BRIGHTER, CONTRAST = 6.0, 0.08  # grey levels, and a share of the deviation: another brightness


Result = TypeVar("Result")


@dataclass(frozen=True)
class View:
    """A change that is undone before images are compared."""

    change: str
    flipped: bool = False
    margin: float = 0.0  # share of the side that is cut off all around
    coarse_ratio: float = 0.3  # of the difference to unrelated images that the descriptors of a match may have,
    ratio: float = 0.08  # and that a copy may have


NEARLY = "nearly the same"
TTA_VIEWS = (
    View(NEARLY),
    View("mirrored", flipped=True, ratio=0.04),
    View("cropped", margin=0.05, coarse_ratio=0.5, ratio=0.06),
    View("cropped", margin=0.1, coarse_ratio=0.5, ratio=0.06),
)


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are nearly the same: where they are, their correlation, and what was changed."""

    first: SampleLocation
    second: SampleLocation
    alike: float
    change: str


def find_near_duplicates(
    splits: Mapping[str, Split], groups: Sequence[Sequence[SampleLocation]] = ()
) -> list[NearDuplicate]:
    """Find pairs of images that are nearly the same.

    Blank images resemble one another and are left out. The time grows with the square of the number of images, the
    memory with the number.

    Args:
        splits: the images; 60,000 of them take about a minute on two cores.
        groups: images equal to the pixel, of which only the first takes part.
    """
    equal = {place for group in groups for place in group[1:]}
    places = [(name, row) for name, split in splits.items() for row in range(len(split))]
    thumbnails = shrink(list(splits.values()))
    deviation = torch.cat([to_luma(part).flatten(1).std(1, correction=0) for part in thumbnails.split(CHUNK)])
    taken = torch.tensor([place not in equal for place in places]) & (deviation >= FLAT)
    rows = taken.nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator(0))]  # neighbours in a film fall into different groups
    if len(rows) < 2:
        return []
    thumbnails = thumbnails[rows]
    found = []
    for (first, second), (alike, change) in search(thumbnails).items():
        low, high = sorted((int(rows[first]), int(rows[second])))
        found.append((low, high, NearDuplicate(places[low], places[high], alike, change)))
    return [copy for *_, copy in sorted(found, key=lambda entry: entry[:2])]


def shrink(splits: Sequence[Split]) -> Tensor:
    """Return the images of all splits as uint8 (N, C, S, S), S at most SIDE."""
    channels, *sides = splits[0].images.shape[1:]
    side = min(SIDE, max(sides))
    thumbnails = torch.empty((sum(map(len, splits)), channels, side, side), dtype=torch.uint8)
    filled = 0
    for split in splits:
        for rows in torch.arange(len(split)).split(CHUNK):
            images = split.images[rows]
            if tuple(images.shape[2:]) != (side, side):
                images = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
                images = images.round().clamp(0, 255).to(torch.uint8)
            thumbnails[filled : filled + len(images)] = images
            filled += len(images)
    return thumbnails


def describe(thumbnails: Tensor, view: View) -> Tensor:
    """Return grey images of 8 x 8 under a view (N, 64), without their mean, of length 1."""
    margin = round(view.margin * thumbnails.shape[3])
    parts = []
    for images in thumbnails.split(CHUNK):
        grey = to_luma(images)
        grey = grey.flip(3) if view.flipped else grey
        grey = grey[:, :, margin : grey.shape[2] - margin, margin : grey.shape[3] - margin]
        small = F.interpolate(grey, size=(COARSE_SIDE, COARSE_SIDE), mode="bilinear", antialias=True).flatten(1)
        parts.append(F.normalize(small - small.mean(1, keepdim=True), eps=1.0))
    return torch.cat(parts)


def search(thumbnails: Tensor) -> dict[tuple[int, int], tuple[float, str]]:
    """Return the pairs of rows that are copies, with their correlation and change, view by view."""
    count = len(thumbnails)
    number = min(GROUPS, count - 1)
    bounds = [(count * at // number, count * (at + 1) // number) for at in range(number)]
    plain = describe(thumbnails, TTA_VIEWS[0])
    pairs: dict[tuple[int, int], tuple[float, str]] = {}
    closest: NDArray[np.int64] | None = None
    with count_bar("comparing images", len(TTA_VIEWS) * count) as advance:
        for view in TTA_VIEWS:
            differ, matches = match_groups(plain if view == TTA_VIEWS[0] else describe(thumbnails, view), plain, bounds)
            closest = matches if closest is None else closest
            rows, columns = candidates(differ, matches, view, pairs)
            own = measure(thumbnails, rows, columns, view)
            doubtful = DOUBTFUL * view.ratio * coarse_background(differ)[rows]
            near = np.flatnonzero(own <= np.clip(doubtful, SAME_LIMIT, LIMIT))
            limit = view.ratio * np.minimum(
                background(thumbnails, rows[near], matches, view), background(thumbnails, columns[near], closest, view)
            )
            near = near[own[near] <= np.clip(limit, SAME_LIMIT, LIMIT)]
            changes = name_changes(thumbnails, rows[near], columns[near], view)
            for row, column, alike, change in zip(
                rows[near].tolist(), columns[near].tolist(), (1 - own[near].clip(min=0)).tolist(), changes, strict=True
            ):
                if change:
                    pairs.setdefault((min(row, column), max(row, column)), (alike, change))
            advance(count)
    return pairs


def match_groups(
    seen: Tensor, plain: Tensor, bounds: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return for each descriptor the difference to the closest other one in each group (N, G), and its row (N, G)."""
    differ = np.empty((len(seen), len(bounds)), dtype=np.float32)
    matches = np.empty((len(seen), len(bounds)), dtype=np.int64)

    def match(group: int) -> None:
        begin, end = bounds[group]
        table = plain[begin:end].T.contiguous()
        scratch = torch.empty(BLOCK, end - begin)
        for start in range(0, len(seen), BLOCK):
            rows = seen[start : start + BLOCK]
            alike = torch.mm(rows, table, out=scratch[: len(rows)])
            itself = torch.arange(start, start + len(rows))
            itself = itself[(itself >= begin) & (itself < end)]
            alike[itself - start, itself - begin] = -1.0
            closest = alike.numpy().argmax(1)  # several times as fast as torch's
            matches[start : start + BLOCK, group] = closest + begin
            differ[start : start + BLOCK, group] = 1 - alike.numpy()[np.arange(len(rows)), closest]

    map_on_cores(match, range(len(bounds)))
    return differ, matches


def candidates(
    differ: NDArray[np.float32], matches: NDArray[np.int64], view: View, known: Container[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the matches (rows, columns) that are far closer than those of most groups and not known as copies."""
    limit = np.clip(view.coarse_ratio * coarse_background(differ), SAME_LIMIT, COARSE_LIMIT)
    rows, groups = np.nonzero(differ <= limit[:, None])
    columns = matches[rows, groups]
    new = [(min(pair), max(pair)) not in known for pair in zip(rows.tolist(), columns.tolist(), strict=True)]
    return rows[new], columns[new]


def coarse_background(differ: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what descriptors differ by from the closest one of most groups; 1 where there are too few groups."""
    if differ.shape[1] < LEAST_GROUPS:
        return np.ones(len(differ), dtype=np.float32)
    middle = np.median(differ, 1)
    return np.maximum(middle, np.quantile(middle, DENSEST)).astype(np.float32)


def background(
    thumbnails: Tensor, rows: NDArray[np.int64], matches: NDArray[np.int64], view: View
) -> NDArray[np.float32]:
    """Return what images differ by from the closest one of most groups; 1 where there are too few groups."""
    if matches.shape[1] < LEAST_GROUPS or not len(rows):
        return np.ones(len(rows), dtype=np.float32)
    unique, inverse = np.unique(rows, return_inverse=True)
    differ = measure(thumbnails, unique.repeat(matches.shape[1]), matches[unique].reshape(-1), view)
    return np.median(differ.reshape(len(unique), -1), 1).astype(np.float32)[inverse]


def overlay(
    thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay images over others under a view: the one, the other (N, C, S, S), and the mask (N, 1, S, S) of both."""
    source, target = (thumbnails[torch.from_numpy(part)].float() for part in (rows, columns))
    source = source.flip(3) if view.flipped else source
    inside = torch.ones_like(source[:, :1])
    if view.margin:
        scale = torch.full((len(source), 2), 1 - 2 * view.margin)
        scale, shift = align(to_luma(source), to_luma(target), scale, torch.zeros_like(scale))
        source, inside = warp(source, scale, shift)
    return source, target, inside


def measure(thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View) -> NDArray[np.float32]:
    """Return what pairs differ by (1 - correlation) once laid over one another, blurred, as after a compression."""

    def compare(start: int) -> NDArray[np.float32]:
        part = slice(start, start + PAIRS)
        source, target, inside = overlay(thumbnails, rows[part], columns[part], view)
        differ: NDArray[np.float32] = difference(
            blur(to_luma(source), BLUR), blur(to_luma(target), BLUR), inside
        ).numpy()
        return differ

    return np.concatenate([np.empty(0, dtype=np.float32), *map_on_cores(compare, range(0, len(rows), PAIRS))])


def name_changes(thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View) -> list[str]:
    """Return in words what was changed between the images of each pair; "" where textures or colours are others."""

    def compare(start: int) -> list[str]:
        part = slice(start, start + PAIRS)
        source, target, inside = overlay(thumbnails, rows[part], columns[part], view)
        grey, other = to_luma(source), to_luma(target)
        coloured, other_coloured = is_coloured(source), is_coloured(target)
        same = similarity(blur(grey, BLUR), blur(other, BLUR), inside) >= STRUCTURE_LIMIT
        same &= (difference(source, target, inside) <= COLOUR_LIMIT) | ~(coloured & other_coloured)
        brighter = (grey - other).mean((1, 2, 3)).abs() > BRIGHTER
        brighter |= (grey.std((1, 2, 3), correction=0) / other.std((1, 2, 3), correction=0) - 1).abs() > CONTRAST
        changes = [view.change] * len(source)
        if view.change == NEARLY:
            changes = ["another brightness" if different else NEARLY for different in brighter]
            greyed = (coloured != other_coloured).tolist()
            changes = ["grey" if lost else change for lost, change in zip(greyed, changes, strict=True)]
        return [change if alike else "" for change, alike in zip(changes, same.tolist(), strict=True)]

    return [change for changes in map_on_cores(compare, range(0, len(rows), PAIRS)) for change in changes]


def map_on_cores(function: Callable[[int], Result], items: Iterable[int]) -> list[Result]:
    """Apply a function on as many threads as torch has, on each of which torch computes with one.

    With all threads at one small operation after the other, they mostly wait: on a busy machine a hundredfold.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPool(threads) as pool:
            return pool.map(function, items, chunksize=1)
    finally:
        torch.set_num_threads(threads)


def is_coloured(images: Tensor) -> Tensor:
    """Return whether images (N, C, H, W) are in colour (N,)."""
    return (images.amax(1) - images.amin(1)).flatten(1).mean(1) > COLOURED
