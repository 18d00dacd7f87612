"""Images that are there more than once: within a split, and, what is worse, in two of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import torch

from lenext.data.dataset import Split

CHUNK = 500  # images that are read in one go

SampleLocation = tuple[str, int]  # a split and a row in it


def fingerprints(split: Split) -> Iterator[bytes]:
    """Yield a hash of each image's pixels, as they are stored."""
    for rows in torch.arange(len(split)).split(CHUNK):
        for image in split.images[rows].contiguous().numpy():
            yield blake2b(image.tobytes(), digest_size=16).digest()


def find_exact_duplicates(splits: Mapping[str, Split]) -> list[list[SampleLocation]]:
    """Return the groups of images that are equal to the pixel."""
    groups: defaultdict[bytes, list[SampleLocation]] = defaultdict(list)
    for name, split in splits.items():
        for row, print_ in enumerate(fingerprints(split)):
            groups[print_].append((name, row))
    return [group for group in groups.values() if len(group) > 1]


def count_shared_images(groups: Sequence[Sequence[SampleLocation]], first: str, second: str) -> int:
    """Return how many images of the second split are in the first one too."""
    return sum(sum(name == second for name, _ in group) for group in groups if any(name == first for name, _ in group))
