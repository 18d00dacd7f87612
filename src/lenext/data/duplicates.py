"""Pictures that are there more than once: within a split, and, what is worse, in two of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn import functional as F

from lenext.data.dataset import Split
from lenext.foundation.progress import count_bar

CHUNK = 500  # pictures that are looked at in one go
THUMB = 16  # px a side of the small pictures that are compared
ROWS = 500  # pictures that are compared with all others in one go
ALIKE = 0.994  # correlation of two small pictures from which on they are nearly the same


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


def near(splits: Mapping[str, Split]) -> list[tuple[tuple[str, int], tuple[str, int], float]]:
    """Pairs of pictures that are nearly the same, as after another compression, size or brightness, with how alike they
    are: the correlation of small grey pictures of them. Each is compared with each; 60,000 take half a minute."""
    where = [(name, row) for name, split in splits.items() for row in range(len(split))]
    thumbs = torch.cat([thumbnails(split) for split in splits.values()])
    found = []
    with count_bar("comparing pictures", len(where)) as advance:
        for start in range(0, len(where), ROWS):
            alike = thumbs[start : start + ROWS] @ thumbs[start:].T
            for row, column in (alike >= ALIKE).nonzero().tolist():
                if column > row:
                    found.append((where[start + row], where[start + column], float(alike[row, column])))
            advance(len(alike))
    return found


def thumbnails(split: Split) -> Tensor:
    """Of each picture a small grey one (N, 256), without its mean, of length 1; a blank one is of zeros."""
    parts = []
    for rows in torch.arange(len(split)).split(CHUNK):
        grey = split.images[rows].float().mean(1, keepdim=True)
        small = F.interpolate(grey, size=(THUMB, THUMB), mode="bilinear", antialias=True).flatten(1)
        small = small - small.mean(1, keepdim=True)
        parts.append(small / small.norm(dim=1, keepdim=True).clamp(min=1.0))
    return torch.cat(parts)
