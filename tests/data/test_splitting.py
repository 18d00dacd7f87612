"""Properties of the split into training, validation and test samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import random_split

from lenext.data.dataset import Dataset
from lenext.data.splitting import apportion, split_dataset, split_rows
from lenext.foundation.errors import DataError

labels = st.lists(st.integers(0, 4), min_size=4, max_size=200).map(torch.tensor)
fractions = st.floats(0.01, 0.9)


@given(labels, fractions, st.sampled_from(["stratified", "random", "ordered"]), st.integers(0, 100))
def test_nothing_is_lost_or_doubled(labels: torch.Tensor, fraction: float, method: str, seed: int) -> None:
    kept_rows, removed_rows = split_rows(labels, fraction, method, seed)  # type: ignore[arg-type]
    assert sorted(torch.cat([kept_rows, removed_rows]).tolist()) == list(range(len(labels)))
    again = split_rows(labels, fraction, method, seed)  # type: ignore[arg-type]
    assert torch.equal(again[1], removed_rows)


@given(labels, fractions, st.integers(0, 100))
def test_stratified_keeps_every_class_in_proportion(labels: torch.Tensor, fraction: float, seed: int) -> None:
    kept_rows, removed_rows = split_rows(labels, fraction, "stratified", seed)
    for label in labels.unique().tolist():
        count = int((labels == label).sum())
        removed = int((labels[removed_rows] == label).sum())
        assert int((labels[kept_rows] == label).sum()) >= 1
        assert removed >= min(1, count - 1)
        assert abs(removed - count * fraction) <= 1 + count * 0.5 / len(labels) + 1e-9 or removed in (
            1,
            count - 1,
        )


@given(st.lists(st.integers(10, 1000), min_size=2, max_size=20), st.floats(0.1, 0.9))
def test_shares_add_up(counts: list[int], fraction: float) -> None:
    number = round(sum(counts) * fraction)
    assert int(apportion(torch.tensor(counts), number).sum()) == number


def test_random_is_torchs_random_split() -> None:
    """The random split equals torch's, and so D3's split of CIFAR-10 with its seed 55."""
    ours = split_rows(torch.zeros(1000), 0.2, "random", 55)
    theirs = random_split(range(1000), [0.8, 0.2], generator=torch.Generator().manual_seed(55))  # type: ignore[arg-type, var-annotated]
    assert [split.tolist() for split in ours] == [list(split.indices) for split in theirs]


def test_another_seed_divides_otherwise(digits: Dataset) -> None:
    first, second = (split_dataset(digits, seed=seed).validation for seed in (0, 1))
    assert first is not None
    assert second is not None
    assert set(first.ids.tolist()) != set(second.ids.tolist())


def test_auto_takes_a_tenth_and_keeps_the_sources_test(digits: Dataset) -> None:
    divided = split_dataset(digits)
    assert divided.validation is not None
    assert divided.test is digits.test
    assert len(divided.validation) == 144
    assert len(divided.train) == len(digits.train) - 144
    assert split_dataset(divided) is divided


def test_data_without_a_test_set_are_split_in_three(digits: Dataset) -> None:
    alone = Dataset("alone", digits.classes, digits.train)
    divided = split_dataset(alone, validation_fraction=0.25, test_fraction=0.5)
    sizes = {name: len(split) for name, split in divided.splits().items()}
    assert sizes == {"train": 539, "validation": 180, "test": 719}
    assert divided.held_out == ("test", "validation")


def test_a_validation_set_of_the_sources_is_kept_and_not_called_carved(digits: Dataset) -> None:
    rows = torch.arange(100)
    data = Dataset("own", digits.classes, digits.train, validation=digits.train.take(rows), test=digits.test)
    divided = split_dataset(data)
    assert divided.validation is data.validation
    assert divided.held_out == ()
    assert divided.is_split


def test_few_samples_are_exactly_so_many(digits: Dataset) -> None:
    for number in (2, 5, 10, 13):
        assert len(split_dataset(digits, train_samples=number).train) == number


def test_no_validation_if_none_is_wanted(digits: Dataset) -> None:
    divided = split_dataset(digits, validation_fraction=0)
    assert divided.validation is None
    assert len(divided.train) == len(digits.train)


@pytest.mark.parametrize("method", ["stratified", "random", "ordered"])
def test_fewer_training_samples(digits: Dataset, method: str) -> None:
    divided = split_dataset(digits, method=method, train_samples=200)  # type: ignore[arg-type]
    assert len(divided.train) == 200
    if method == "ordered":
        assert divided.train.ids.tolist() == digits.train.ids[:200].tolist()


def test_a_fraction_for_a_split_that_is_there_is_refused(digits: Dataset) -> None:
    with pytest.raises(DataError, match="already has a test split"):
        split_dataset(digits, test_fraction=0.2)
    with pytest.raises(DataError, match="only 1,294 are left"):
        split_dataset(digits, train_samples=5000)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_ids_find_their_rows(seed: int) -> None:
    images = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1)
    data = split_dataset(Dataset.from_arrays(images, torch.arange(50) % 5), seed=seed)
    assert data.validation is not None
    train = Dataset.from_arrays(images, torch.arange(50) % 5).train
    rows = train.find(data.validation.ids.tolist())
    assert torch.equal(train.images[rows], data.validation.images[torch.arange(len(rows))])
