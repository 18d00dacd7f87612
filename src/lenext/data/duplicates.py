"""Find exact duplicates: within a split and, which is worse, across two splits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import torch

from lenext.data.dataset import Split

READ_BATCH = 500  # images that are read at a time

SampleLocation = tuple[str, int]  # name of the split, and row in it


def hash_images(split: Split) -> Iterator[bytes]:
    """Yield a hash of each image's stored pixels."""
    for rows in torch.arange(len(split)).split(READ_BATCH):
        for image in split.images[rows].contiguous().numpy():
            yield blake2b(image.tobytes(), digest_size=16).digest()


def find_exact_duplicates(splits: Mapping[str, Split]) -> list[list[SampleLocation]]:
    """Return the groups of images whose pixels are equal."""
    groups: defaultdict[bytes, list[SampleLocation]] = defaultdict(list)
    for name, split in splits.items():
        for row, digest in enumerate(hash_images(split)):
            groups[digest].append((name, row))
    return [group for group in groups.values() if len(group) > 1]


def count_shared_images(groups: Sequence[Sequence[SampleLocation]], first: str, second: str) -> int:
    """Return how many images of the second split occur in the first too, given the groups of duplicates."""
    return sum(sum(name == second for name, _ in group) for group in groups if any(name == first for name, _ in group))
