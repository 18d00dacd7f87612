"""How validation images, and where there are none test images, are taken out of the training images."""

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from lenext.data.dataset import Dataset
from lenext.foundation.errors import DataError
from lenext.foundation.seeds import generator
from lenext.foundation.settings import Fraction, Method

VALIDATION, TEST = 0.1, 0.2  # what `auto` takes where the source has no such split


def split_dataset(
    data: Dataset,
    *,
    validation_fraction: Fraction = "auto",
    test_fraction: Fraction = "auto",
    method: Method = "stratified",
    seed: int = 0,
    train_samples: int | Literal["all"] = "all",
) -> Dataset:
    """The data with validation (and, where it has none, test) carved out of train; then train cut to `train_samples`.

    `auto` keeps a split that the source has. A fraction for a split that the source has is refused (DataError).
    Already divided data are returned as they are.
    """
    if data.is_split:
        return data
    data = carve(data, "test", test_fraction, TEST, method, seed)
    data = carve(data, "validation", validation_fraction, VALIDATION, method, seed)
    if train_samples != "all" and train_samples != len(data.train):
        if train_samples > len(data.train):
            raise DataError(f"train_samples={train_samples}: only {len(data.train):,} are left for training")
        data = replace(data, train=data.train.take(kept_rows(data.train.labels, train_samples, method, seed)))
    if not data.held_out and train_samples == "all" and (method, seed) != ("stratified", 0):
        raise DataError(f"split={method}, split_seed={seed}: nothing is taken out of {data.name}'s training samples")
    if len(data.train) < 2:
        raise DataError(f"{data.name}: fewer than two images are left for training")
    return replace(data, is_split=True)


def carve(data: Dataset, name: str, fraction: Fraction, default: float, method: Method, seed: int) -> Dataset:
    """Take one split out of train, unless the source has it."""
    if data.splits().get(name) is not None:
        if fraction != "auto":
            raise DataError(
                f"{name}_fraction={fraction}: {data.name} has a {name} split of its own; leave the fraction out"
            )
        return data
    share = default if fraction == "auto" else fraction
    if share == 0:
        return data
    rest, taken = split_rows(data.train.labels, share, method, seed)
    if len(taken) == 0:
        raise DataError(
            f"{data.name}: {len(data.train)} images are too few to set any aside for {name}; "
            f"add some, or give --{name}-fraction 0"
        )
    parts: dict[str, Any] = {"train": data.train.take(rest), name: data.train.take(taken)}
    return replace(data, held_out=(*data.held_out, name), **parts)


def kept_rows(labels: Tensor, number: int, method: Method, seed: int) -> Tensor:
    """Exactly so many rows: by class in proportion, drawn over all, or the first ones; in the order of the source."""
    if method == "ordered":
        return torch.arange(number)
    draw = generator(seed, 1)
    if method == "random":
        return torch.randperm(len(labels), generator=draw)[:number].sort().values
    return drawn_by_class(labels, shares(labels.bincount(), number), draw).nonzero()[:, 0]


def split_rows(labels: Tensor, fraction: float, method: Method, seed: int) -> tuple[Tensor, Tensor]:
    """The rows that stay and the rows that are taken.

    stratified: by class, drawn, in the order of the source; each class keeps at least one, and gives one if it has two
    random:     drawn over all; the same draw as torch.utils.data.random_split with a generator of that seed
    ordered:    the last rows of the source
    """
    count = len(labels)
    number = round(count * fraction)
    if method == "ordered":
        rows = torch.arange(count)
        return rows[: count - number], rows[count - number :]
    if method == "random":
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return order[: count - number], order[count - number :]
    counts = labels.bincount()
    wanted = shares(counts, number).clamp(min=1).minimum((counts - 1).clamp(min=0))
    taken = drawn_by_class(labels, wanted, generator(seed))
    return (~taken).nonzero()[:, 0], taken.nonzero()[:, 0]


def drawn_by_class(labels: Tensor, wanted: Tensor, draw: torch.Generator) -> Tensor:
    """A mask (N,) of so many rows of each class, drawn."""
    taken = torch.zeros(len(labels), dtype=torch.bool)
    for label, number in enumerate(wanted.tolist()):
        members = (labels == label).nonzero()[:, 0]
        taken[members[torch.randperm(len(members), generator=draw)[:number]]] = True
    return taken


def shares(counts: Tensor, number: int) -> Tensor:
    """How many of `number` fall to each class, in proportion, by the largest remainder; they add up to it."""
    exact = counts.double() * number / counts.sum()
    share = exact.floor().long()
    missing = number - int(share.sum())
    share[(exact - share).argsort(descending=True, stable=True)[:missing]] += 1
    return share
