"""Pictures that are there more than once: within a split, and, what is worse, in two of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import blake2b

import torch

from lenext.data.dataset import Split

CHUNK = 500  # pictures that are looked at in one go


def fingerprints(split: Split) -> Iterator[bytes]:
    """Of each picture's pixels, as they are stored."""
    for rows in torch.arange(len(split)).split(CHUNK):
        for picture in split.images[rows].contiguous().numpy():
            yield blake2b(picture.tobytes(), digest_size=16).digest()


def exact(splits: Mapping[str, Split]) -> list[list[tuple[str, int]]]:
    """Groups of pictures that are equal to the pixel: each a list of (split, row)."""
    groups: defaultdict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for name, split in splits.items():
        for row, print_ in enumerate(fingerprints(split)):
            groups[print_].append((name, row))
    return [group for group in groups.values() if len(group) > 1]


def across(groups: list[list[tuple[str, int]]], first: str, second: str) -> int:
    """How many pictures of the second split are in the first one too."""
    return sum(sum(name == second for name, _ in group) for group in groups if any(name == first for name, _ in group))
