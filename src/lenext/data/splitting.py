"""Take validation samples, and test samples if the source has none, out of the training samples."""

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import DataError
from lenext.foundation.seeds import generator
from lenext.foundation.settings import Fraction, Method

VALIDATION_FRACTION, TEST_FRACTION = 0.1, 0.2  # of `auto`, if the source has no such split


def split_dataset(
    data: Dataset,
    *,
    validation_fraction: Fraction = "auto",
    test_fraction: Fraction = "auto",
    method: Method = "stratified",
    seed: int = 0,
    train_samples: int | Literal["all"] = "all",
) -> Dataset:
    """Take validation (and test, if there is none) out of train; then reduce train to `train_samples`.

    A dataset that is already split is returned unchanged.

    Args:
        data: The dataset.
        validation_fraction: Fraction of the training samples; "auto": 0.1, or the validation split of the source.
        test_fraction: Fraction of the training samples; "auto": 0.2, or the test split of the source.
        method: How samples are chosen; see `split_rows`.
        seed: Seed of the choice.
        train_samples: Number of training samples to keep.

    Raises:
        DataError: A fraction is given for a split that the source has, or there are too few samples.
    """
    if data.is_split:
        return data
    data = hold_out(data, "test", test_fraction, TEST_FRACTION, method, seed)
    data = hold_out(data, "validation", validation_fraction, VALIDATION_FRACTION, method, seed)
    if train_samples != "all" and train_samples != len(data.train):
        if train_samples > len(data.train):
            raise DataError(f"train_samples={train_samples}: only {len(data.train):,} are left for training")
        data = replace(data, train=data.train.take(choose_rows(data.train.labels, train_samples, method, seed)))
    if not data.held_out and train_samples == "all" and (method, seed) != ("stratified", 0):
        raise DataError(f"split={method}, split_seed={seed}: nothing is taken out of {data.name}'s training samples")
    if len(data.train) < 2:
        raise DataError(f"{data.name}: fewer than two images are left for training")
    return replace(data, is_split=True)


def hold_out(data: Dataset, name: str, fraction: Fraction, default: float, method: Method, seed: int) -> Dataset:
    """Take one split out of train, unless the source has it. Raises DataError."""
    if data.splits().get(name) is not None:
        if fraction != "auto":
            raise DataError(f"{name}_fraction={fraction}: {data.name} already has a {name} split; remove the fraction")
        return data
    fraction = default if fraction == "auto" else fraction
    if fraction == 0:
        return data
    remaining, removed = split_rows(data.train.labels, fraction, method, seed)
    if len(removed) == 0:
        raise DataError(
            f"{data.name}: {len(data.train)} images are too few to set any aside for {name}; "
            f"add some, or pass --{name}-fraction 0"
        )
    parts: dict[str, Any] = {"train": data.train.take(remaining), name: data.train.take(removed)}
    return replace(data, held_out=(*data.held_out, name), **parts)


def choose_rows(labels: Tensor, number: int, method: Method, seed: int) -> Tensor:
    """Choose `number` rows by the methods of `split_rows` (`ordered`: the first), in the order of the source."""
    if method == "ordered":
        return torch.arange(number)
    draw = generator(seed, 1)
    if method == "random":
        return torch.randperm(len(labels), generator=draw)[:number].sort().values
    return draw_by_class(labels, apportion(labels.bincount(), number), draw).nonzero()[:, 0]


def split_rows(labels: Tensor, fraction: float, method: Method, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows to keep and the rows to take out.

    The methods are:

    - stratified: drawn within each class, in the order of the source; each class keeps at least one, and gives one if
      it has two.
    - random: drawn over all; the same draw as torch.utils.data.random_split with a generator of that seed.
    - ordered: the last rows of the source.
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
    numbers = apportion(counts, number).clamp(min=1).minimum((counts - 1).clamp(min=0))
    removed = draw_by_class(labels, numbers, generator(seed))
    return (~removed).nonzero()[:, 0], removed.nonzero()[:, 0]


def draw_by_class(labels: Tensor, numbers: Tensor, draw: torch.Generator) -> Tensor:
    """Draw `numbers` (K,) rows of each class, and return them as a mask (N,)."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, number in enumerate(numbers.tolist()):
        members = (labels == label).nonzero()[:, 0]
        mask[members[torch.randperm(len(members), generator=draw)[:number]]] = True
    return mask


def apportion(counts: Tensor, number: int) -> Tensor:
    """Distribute `number` over classes in proportion to their counts, by the largest remainder."""
    exact = counts.double() * number / counts.sum()
    parts = exact.floor().long()
    missing = number - int(parts.sum())
    parts[(exact - parts).argsort(descending=True, stable=True)[:missing]] += 1
    return parts


def draw_samples(split: Split, number: int) -> Split:
    """Return at most `number` samples of a split, drawn with a fixed seed, in their order."""
    if len(split) <= number:
        return split
    return split.take(torch.randperm(len(split), generator=generator(0))[:number].sort().values)
