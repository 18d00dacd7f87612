"""Find near duplicates: the same image recompressed, resized, brighter, grey, mirrored or slightly cropped.

Every image is compared with every other by a descriptor of 64 numbers, also mirrored and with its margins cut off. The
best matches are then aligned and compared at a higher resolution. A pair is a near duplicate if its difference is
small, and very small beside the difference between the closest unrelated images of the same data: any two photographs
differ more than two versions of one photograph, while digits of different writers can be nearly equal.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenext.data.alignment import align, blur, difference, similarity, to_luma, warp
from lenext.data.dataset import Split
from lenext.data.descriptors import compute_descriptors, make_thumbnails, map_on_cores, match_groups
from lenext.data.duplicates import READ_BATCH, SampleLocation
from lenext.foundation.progress import count_bar
from lenext.foundation.seeds import generator

MIN_DEVIATION = 3.0  # grey levels; below this standard deviation an image is blank and resembles all blank images
# Each image is compared with the closest image of each group; the median is the difference to unrelated images.
MAX_GROUPS = 16
MIN_GROUPS = 5  # with fewer images there is no reference for a pair
MAX_COPIED_FRACTION = 0.02  # of the images that may be copies of one image, with a copy in each group
VERIFY_BATCH = 128  # pairs at a time
# Differences are 1 - correlation.
MAX_DESCRIPTOR_DIFFERENCE = 0.3  # of a match that is verified
MAX_DIFFERENCE = 0.04  # of a copy
CERTAIN_DIFFERENCE = 5e-4  # below this a pair is a copy even if most groups contain one (many copies of one image)
PRECHECK_FACTOR = 4  # times the ratio of a copy, to the descriptors of unrelated images: above this, no verification
BLUR_PIXELS = 3  # side; smaller details are left out of the comparison
MIN_STRUCTURE = 0.85  # structural similarity; below this two images have only their large shapes in common
MAX_COLOUR_DIFFERENCE = 0.1  # difference in colour, if both images are in colour
MIN_COLOUR_LEVELS = 4.0  # mean difference between the channels of an image in colour
MIN_BRIGHTNESS_LEVELS, MIN_CONTRAST_RATIO = 6.0, 0.08  # changes from which on the brightness counts as different


@dataclass(frozen=True)
class View:
    """A change that is undone before images are compared.

    Attributes:
        change: Its name in reports.
        flipped: Whether the image is mirrored.
        margin: Fraction of the side that is cut off on each side.
        descriptor_ratio: Largest difference of the descriptors of a match, as a fraction of that to unrelated images.
        ratio: Largest difference of a copy, as a fraction of that to unrelated images.
    """

    change: str
    flipped: bool = False
    margin: float = 0.0
    descriptor_ratio: float = 0.3
    ratio: float = 0.08


UNNAMED_CHANGE = "nearly the same"
VIEWS = (
    View(UNNAMED_CHANGE),
    View("mirrored", flipped=True, ratio=0.04),
    View("cropped", margin=0.05, descriptor_ratio=0.5, ratio=0.06),
    View("cropped", margin=0.1, descriptor_ratio=0.5, ratio=0.06),
)


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are nearly the same: their locations, their correlation, and what was changed."""

    first: SampleLocation
    second: SampleLocation
    correlation: float
    change: str


def find_near_duplicates(
    splits: Mapping[str, Split], groups: Sequence[Sequence[SampleLocation]] = ()
) -> list[NearDuplicate]:
    """Find pairs of images that are nearly the same.

    Blank images resemble one another and are left out. The time grows with the square of the number of images, the
    memory with the number.

    Args:
        splits: Splits by name; 60,000 images take about a minute on two cores.
        groups: Groups of equal images, of which only the first takes part.
    """
    equal = {location for group in groups for location in group[1:]}
    locations = [(name, row) for name, split in splits.items() for row in range(len(split))]
    thumbnails = make_thumbnails(list(splits.values()))
    deviation = torch.cat([to_luma(part).flatten(1).std(1, correction=0) for part in thumbnails.split(READ_BATCH)])
    compared = torch.tensor([location not in equal for location in locations]) & (deviation >= MIN_DEVIATION)
    rows = compared.nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator(0))]  # neighbours in a video fall into different groups
    if len(rows) < 2:
        return []
    thumbnails = thumbnails[rows]
    pairs = []
    for (first, second), (correlation, change) in find_pairs(thumbnails).items():
        low, high = sorted((int(rows[first]), int(rows[second])))
        pairs.append((low, high, NearDuplicate(locations[low], locations[high], correlation, change)))
    return [pair for *_, pair in sorted(pairs, key=lambda entry: entry[:2])]


def find_pairs(thumbnails: Tensor) -> dict[tuple[int, int], tuple[float, str]]:
    """Return the pairs of rows that are copies, with their correlation and change, view by view."""
    count = len(thumbnails)
    groups = min(MAX_GROUPS, count - 1)
    bounds = [(count * group // groups, count * (group + 1) // groups) for group in range(groups)]
    plain = compute_descriptors(thumbnails)
    pairs: dict[tuple[int, int], tuple[float, str]] = {}
    plain_matches: NDArray[np.int64] | None = None
    with count_bar("comparing images", len(VIEWS) * count) as advance:
        for view in VIEWS:
            descriptors = compute_descriptors(thumbnails, flipped=view.flipped, margin=view.margin)
            differences, matches = match_groups(descriptors, plain, bounds)
            plain_matches = matches if plain_matches is None else plain_matches  # of the first view
            rows, columns = select_candidates(differences, matches, view, pairs)
            pair_differences = measure_difference(thumbnails, rows, columns, view)
            precheck = PRECHECK_FACTOR * view.ratio * descriptor_background(differences)[rows]
            near = np.flatnonzero(pair_differences <= np.clip(precheck, CERTAIN_DIFFERENCE, MAX_DIFFERENCE))
            limit = view.ratio * np.minimum(
                measure_background(thumbnails, rows[near], matches, view),
                measure_background(thumbnails, columns[near], plain_matches, view),
            )
            near = near[pair_differences[near] <= np.clip(limit, CERTAIN_DIFFERENCE, MAX_DIFFERENCE)]
            correlations = (1 - pair_differences[near].clip(min=0)).tolist()
            changes = name_changes(thumbnails, rows[near], columns[near], view)
            for row, column, correlation, change in zip(
                rows[near].tolist(), columns[near].tolist(), correlations, changes, strict=True
            ):
                if change:
                    pairs.setdefault((min(row, column), max(row, column)), (correlation, change))
            advance(count)
    return pairs


def select_candidates(
    differences: NDArray[np.float32], matches: NDArray[np.int64], view: View, copies: Container[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the matches (rows, columns) that are far closer than those of most groups and not yet among the copies."""
    limit = np.clip(
        view.descriptor_ratio * descriptor_background(differences), CERTAIN_DIFFERENCE, MAX_DESCRIPTOR_DIFFERENCE
    )
    rows, groups = np.nonzero(differences <= limit[:, None])
    columns = matches[rows, groups]
    new = [(min(pair), max(pair)) not in copies for pair in zip(rows.tolist(), columns.tolist(), strict=True)]
    return rows[new], columns[new]


def descriptor_background(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the difference (N,) of each descriptor to unrelated ones: the median over groups; 1 for too few groups."""
    if differences.shape[1] < MIN_GROUPS:
        return np.ones(len(differences), dtype=np.float32)
    median = np.median(differences, 1)
    return np.maximum(median, np.quantile(median, MAX_COPIED_FRACTION)).astype(np.float32)


def measure_background(
    thumbnails: Tensor, rows: NDArray[np.int64], matches: NDArray[np.int64], view: View
) -> NDArray[np.float32]:
    """Return the difference of each image to unrelated ones: the median over groups; 1 for too few groups."""
    if matches.shape[1] < MIN_GROUPS or not len(rows):
        return np.ones(len(rows), dtype=np.float32)
    unique, inverse = np.unique(rows, return_inverse=True)
    differences = measure_difference(thumbnails, unique.repeat(matches.shape[1]), matches[unique].reshape(-1), view)
    return np.median(differences.reshape(len(unique), -1), 1).astype(np.float32)[inverse]


def align_pairs(
    thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View
) -> tuple[Tensor, Tensor, Tensor]:
    """Align images with others under a view.

    Returns:
        The aligned images and the others (N, C, S, S), and the mask (N, 1, S, S) of the pixels that both have.
    """
    source, target = (thumbnails[torch.from_numpy(part)].float() for part in (rows, columns))
    source = source.flip(3) if view.flipped else source
    inside = torch.ones_like(source[:, :1])
    if view.margin:
        scale = torch.full((len(source), 2), 1 - 2 * view.margin)
        scale, shift = align(to_luma(source), to_luma(target), scale, torch.zeros_like(scale))
        source, inside = warp(source, scale, shift)
    return source, target, inside


def measure_difference(
    thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View
) -> NDArray[np.float32]:
    """Return 1 - correlation of each pair once aligned and blurred, which hides the traces of compression."""

    def compare(start: int) -> NDArray[np.float32]:
        part = slice(start, start + VERIFY_BATCH)
        source, target, inside = align_pairs(thumbnails, rows[part], columns[part], view)
        differences: NDArray[np.float32] = difference(
            blur(to_luma(source), BLUR_PIXELS), blur(to_luma(target), BLUR_PIXELS), inside
        ).numpy()
        return differences

    return np.concatenate([np.empty(0, dtype=np.float32), *map_on_cores(compare, range(0, len(rows), VERIFY_BATCH))])


def name_changes(thumbnails: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64], view: View) -> list[str]:
    """Return the name of the change between the images of each pair; "" if their textures or colours differ."""

    def compare(start: int) -> list[str]:
        part = slice(start, start + VERIFY_BATCH)
        source, target, inside = align_pairs(thumbnails, rows[part], columns[part], view)
        grey, target_grey = to_luma(source), to_luma(target)
        coloured, target_coloured = is_coloured(source), is_coloured(target)
        same = similarity(blur(grey, BLUR_PIXELS), blur(target_grey, BLUR_PIXELS), inside) >= MIN_STRUCTURE
        same &= (difference(source, target, inside) <= MAX_COLOUR_DIFFERENCE) | ~(coloured & target_coloured)
        brighter = (grey - target_grey).mean((1, 2, 3)).abs() > MIN_BRIGHTNESS_LEVELS
        contrast = grey.std((1, 2, 3), correction=0) / target_grey.std((1, 2, 3), correction=0)
        brighter |= (contrast - 1).abs() > MIN_CONTRAST_RATIO
        changes = [view.change] * len(source)
        if view.change == UNNAMED_CHANGE:
            changes = ["another brightness" if different else UNNAMED_CHANGE for different in brighter]
            greyed = (coloured != target_coloured).tolist()
            changes = ["grey" if lost else change for lost, change in zip(greyed, changes, strict=True)]
        return [change if is_same else "" for change, is_same in zip(changes, same.tolist(), strict=True)]

    return [change for changes in map_on_cores(compare, range(0, len(rows), VERIFY_BATCH)) for change in changes]


def is_coloured(images: Tensor) -> Tensor:
    """Return whether images (N, C, H, W) are in colour (N,)."""
    return (images.amax(1) - images.amin(1)).flatten(1).mean(1) > MIN_COLOUR_LEVELS
