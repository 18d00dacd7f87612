"""How validation pictures, and where there are none test pictures, are taken out of the training pictures."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from lenext.data.dataset import Dataset
from lenext.foundation.errors import DataError
from lenext.foundation.seeds import generator
from lenext.foundation.settings import Fraction, Method

VALIDATION, TEST = 0.1, 0.2  # what `auto` takes where the source has no such split


def divide(
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
    if "validation" in data.carved:
        return data
    data = carve(data, "test", test_fraction, TEST, method, seed)
    data = carve(data, "validation", validation_fraction, VALIDATION, method, seed)
    if train_samples != "all" and train_samples != len(data.train):
        if train_samples > len(data.train):
            raise DataError(f"train_samples={train_samples}: only {len(data.train):,} are left for training")
        _, kept = rows_apart(data.train.labels, train_samples / len(data.train), method, seed, from_end=False)
        data = replace(data, train=data.train.take(kept))
    if len(data.train) < 2:
        raise DataError(f"{data.name}: fewer than two pictures are left for training")
    return replace(data, carved=(*data.carved, "validation"))


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
    rest, taken = rows_apart(data.train.labels, share, method, seed)
    if len(taken) == 0:
        raise DataError(f"{data.name}: {len(data.train)} pictures are too few to set any aside for {name}")
    split, train = data.train.take(taken), data.train.take(rest)
    carved = (*data.carved, name) if name == "test" else data.carved
    if name == "test":
        return replace(data, train=train, test=split, carved=carved)
    return replace(data, train=train, validation=split, carved=carved)


def rows_apart(
    labels: Tensor, fraction: float, method: Method, seed: int, *, from_end: bool = True
) -> tuple[Tensor, Tensor]:
    """The rows that stay and the rows that are taken.

    stratified: by class, drawn, in the order of the source; each class keeps at least one, and gives one if it has two
    random:     drawn over all; the same draw as torch.utils.data.random_split with a generator of that seed
    ordered:    the last rows of the source (the first, with `from_end=False`)
    """
    count = len(labels)
    number = round(count * fraction)
    if method == "ordered":
        rows = torch.arange(count)
        return (rows[: count - number], rows[count - number :]) if from_end else (rows[number:], rows[:number])
    if method == "random":
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return order[: count - number], order[count - number :]
    taken = torch.zeros(count, dtype=torch.bool)
    draw = generator(seed)
    for label, share in enumerate(shares(labels.bincount(), number).tolist()):
        members = (labels == label).nonzero()[:, 0]
        taken[members[torch.randperm(len(members), generator=draw)[:share]]] = True
    return (~taken).nonzero()[:, 0], taken.nonzero()[:, 0]


def shares(counts: Tensor, number: int) -> Tensor:
    """How many of `number` each class gives: in proportion, at least one where it has two, never its last one."""
    exact = counts.double() * number / counts.sum()
    share = exact.floor().long()
    missing = number - int(share.sum())
    share[(exact - share).argsort(descending=True, stable=True)[:missing]] += 1
    return share.clamp(min=1).minimum((counts - 1).clamp(min=0))
