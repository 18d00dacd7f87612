"""Batches, their order, and augmentation: pure functions of (seed, epoch, position)."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lenext
from lenext.data.augment import DRAWS_PER_IMAGE, Augmentation
from lenext.data.batches import Batch, batch_slices, batches, draw_epoch_order, training_batches
from lenext.data.dataset import Dataset, Split
from lenext.data.image_files import ImageFiles
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.settings import ShiftPadding

PLAIN = Compute(torch.device("cpu"), "fp32", torch.contiguous_format)


@given(st.integers(1, 500), st.integers(1, 100))
def test_cuts_cover_everything_once_and_leave_nobody_alone(count: int, size: int) -> None:
    made = batch_slices(count, size)
    assert [row for cut in made for row in range(cut.start, cut.stop)] == list(range(count))
    lengths = [cut.stop - cut.start for cut in made]
    assert all(length == size for length in lengths[:-1])
    assert 1 not in lengths or size == 1 or count == 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = draw_epoch_order(100, 1, 2)
    torch.rand(7)  # a consumer's draw changes nothing
    again = draw_epoch_order(100, 1, 2)
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.numbers, again.numbers)
    assert not torch.equal(first.rows, draw_epoch_order(100, 1, 3).rows)
    assert not torch.equal(first.rows, draw_epoch_order(100, 2, 2).rows)
    assert torch.equal(draw_epoch_order(100, 1, 2, shuffle=False).rows, torch.arange(100))


def test_an_epoch_can_be_gone_on_with(digits: Dataset) -> None:
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "standardize")
    augment = Augmentation(flip=True, shift=3, cutout=5)

    order = draw_epoch_order(len(digits.train), 0, 1)

    def made(start: int) -> list[Batch]:
        return list(training_batches(digits.train, order, prepare, augment, PLAIN, 100, start=start))

    whole = made(0)
    for ours, theirs in zip(made(9), whole[9:], strict=True):
        assert all(map(torch.equal, ours, theirs))
    assert torch.equal(torch.cat([batch.rows for batch in whole]), order.rows)
    assert torch.equal(torch.cat([batch.labels for batch in whole]), digits.train.labels[order.rows])


def test_without_augmentation_every_image_comes_once(digits: Dataset) -> None:
    prepare = Preprocessing.from_dataset(digits, "auto", "interpolate", "raw")
    seen = torch.cat([batch.images for batch in batches(digits.train, prepare, PLAIN, 77)])
    assert torch.allclose(seen, digits.train.images[torch.arange(len(digits.train))].float(), atol=1e-3)


IMAGES = torch.arange(4 * 1 * 6 * 6).remainder(251).to(torch.uint8).view(4, 1, 6, 6) + 1


@given(
    st.lists(st.tuples(*[st.floats(0, 0.999)] * DRAWS_PER_IMAGE), min_size=4, max_size=4),
    st.sampled_from(get_args(ShiftPadding)),
)
def test_augmentation_by_hand(rows: list[tuple[float, ...]], shift_padding: ShiftPadding) -> None:
    numbers = torch.tensor(rows)
    out = Augmentation(flip=True, shift=2, cutout=3, shift_padding=shift_padding)(IMAGES, numbers, [9.0])
    for image, row, got in zip(IMAGES, numbers, out, strict=True):
        expected = image.flip(2) if float(row[0]) < 0.5 else image
        down, across = (int(number * 5) for number in row[1:3])
        framed = torch.zeros(1, 10, 10, dtype=torch.uint8)
        framed[:, 2:8, 2:8] = expected
        if shift_padding == "reflect":
            framed = torch.nn.functional.pad(expected.float(), (2, 2, 2, 2), "reflect").to(torch.uint8)
        expected = framed[:, down : down + 6, across : across + 6].clone()
        top, left = (int(number * 6) - 1 for number in row[3:5])
        expected[:, max(top, 0) : max(top + 3, 0), max(left, 0) : max(left + 3, 0)] = 9
        assert torch.equal(got, expected)


def test_no_choice_is_shared_by_a_batch() -> None:
    same = IMAGES[:1].expand(64, 1, 6, 6)
    numbers = torch.rand(64, DRAWS_PER_IMAGE, generator=torch.Generator().manual_seed(0))
    for augment in (Augmentation(flip=True), Augmentation(shift=2), Augmentation(cutout=2)):
        assert len({tuple(one.flatten().tolist()) for one in augment(same, numbers, [0.0])}) > 1


@pytest.mark.parametrize(("scaling", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("raw", 0, 255)])
def test_scalings(scaling: str, low: float, high: float) -> None:
    data = Dataset.from_arrays(torch.tensor([0, 255, 0, 255]).to(torch.uint8).view(4, 1, 1, 1), [0, 1, 0, 1])
    seen = Preprocessing.from_dataset(data, "auto", "interpolate", scaling)(data.train.images[torch.arange(2)])
    assert seen.flatten().tolist() == pytest.approx([low, high])


def test_padding_puts_black_around_and_interpolation_enlarges(digits: Dataset) -> None:
    images = digits.train.images[torch.arange(5)]
    padded = Preprocessing.from_dataset(digits, 32, "pad", "raw").resize_images(images)
    assert padded.shape == (5, 1, 32, 32)
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert int(padded.sum()) == int(images.sum())
    enlarged = Preprocessing.from_dataset(digits, 56, "interpolate", "raw").resize_images(images)
    assert enlarged.shape == (5, 1, 56, 56)
    with pytest.raises(ConfigurationError, match="larger than image_size=20"):
        Preprocessing.from_dataset(digits, 20, "pad", "raw")
    cropped = Preprocessing.from_dataset(digits, 20, "crop", "raw").resize_images(images)
    assert torch.equal(cropped, images[:, :, 4:24, 4:24])
    with pytest.raises(ConfigurationError, match="smaller than image_size=32"):
        Preprocessing.from_dataset(digits, 32, "crop", "raw")


NUMBERS = torch.rand(200, DRAWS_PER_IMAGE, generator=torch.Generator().manual_seed(0))


def test_a_random_crop_is_a_box_of_the_image() -> None:
    """On an image whose pixels say where they are, the box can be read off: its sides, its place, its shape."""
    line = torch.arange(32.0)
    where = torch.stack([line.view(-1, 1).expand(32, 32), line.expand(32, 32)])[None].expand(200, 2, 32, 32)
    found = Augmentation(random_crop=0.3)(where, NUMBERS, [0.0, 0.0])
    tall = (found[:, 0, 20, 5] - found[:, 0, 10, 5]) / 10  # of the image's side
    wide = (found[:, 1, 5, 20] - found[:, 1, 5, 10]) / 10
    areas, ratios = tall * wide, wide / tall
    assert 0.29 < float(areas.min()) < 0.4
    assert 0.8 < float(areas.max()) <= 1.001
    assert float(ratios.min()) > 0.74
    assert float(ratios.max()) < 1.34
    assert float(found.min()) >= 0
    assert float(found.max()) <= 31
    nearly = Augmentation(random_crop=0.95)(where, NUMBERS, [0.0, 0.0])
    tall, wide = nearly[:, 0, 20, 5] - nearly[:, 0, 10, 5], nearly[:, 1, 5, 20] - nearly[:, 1, 5, 10]
    assert float((tall * wide / 100).min()) > 0.949


def test_color_jitter_changes_what_it_says() -> None:
    image = torch.randint(60, 190, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    same = torch.full((1, DRAWS_PER_IMAGE), 0.5)
    assert torch.allclose(Augmentation(color_jitter=0.4)(image, same, [0.0] * 3), image.float(), atol=1e-3)
    brighter = same.clone()
    brighter[:, 9] = 0.75  # times 1.1 where it is 0.2 at most
    assert torch.allclose(Augmentation(color_jitter=0.2)(image, brighter, [0.0] * 3), image * 1.1, atol=1e-3)
    grey = same.clone()
    grey[:, 11] = 0.0  # no saturation at all
    found = Augmentation(color_jitter=1.0)(image, grey, [0.0] * 3)
    assert torch.allclose(found, found[:, :1].expand_as(found), atol=1e-3)


def test_random_erasing_blanks_boxes_in_its_share_of_the_images() -> None:
    images = torch.zeros(200, 1, 40, 40, dtype=torch.uint8)
    found = Augmentation(random_erasing=0.25)(images, NUMBERS, [7.0])
    touched = (found > 0).flatten(1).any(1)
    assert torch.equal(touched, NUMBERS[:, 12] < 0.25)
    for one in found[touched]:
        rows, columns = (one[0] > 0).any(1), (one[0] > 0).any(0)
        assert int((one > 0).sum()) == int(rows.sum()) * int(columns.sum())  # one box
        assert 0.01 < float((one > 0).float().mean()) < 0.36


def test_balanced_sampling_draws_classes_alike() -> None:
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    order = draw_epoch_order(1000, 0, 1, balanced_labels=labels)
    counts = labels[order.rows].bincount()
    assert int(counts.min()) > 280
    assert torch.equal(order.rows, draw_epoch_order(1000, 0, 1, balanced_labels=labels).rows)
    assert torch.equal(order.numbers, draw_epoch_order(1000, 0, 1).numbers)


def test_files_come_as_tensors_do_and_a_broken_one_is_named(photos: Callable[..., Path]) -> None:
    path = photos("train/up", "train/down", count=20)
    in_memory = lenext.load(str(path))
    files = ImageFiles([str(path / name) for name in in_memory.train.ids], 3, in_memory.shape[1:])
    split = Split(files, in_memory.train.labels, in_memory.train.ids)
    prepare = Preprocessing.from_dataset(in_memory, "auto", "interpolate", "standardize")

    def made(split: Split) -> list[Batch]:
        order = draw_epoch_order(len(split), 0, 1)
        return list(training_batches(split, order, prepare, Augmentation(shift=1), PLAIN, 8))

    for ours, theirs in zip(made(split), made(in_memory.train), strict=True):
        assert all(map(torch.equal, ours, theirs))
    (path / str(in_memory.train.ids[3])).write_bytes(b"not an image")
    with pytest.raises(DataError, match="not an image"):
        made(split)
    assert not [one for one in threading.enumerate() if one.name == "decoding"]


def test_batches_that_nobody_takes_are_not_decoded(photos: Callable[..., Path]) -> None:
    path = photos("train/up", "train/down", count=20)
    data = lenext.load(str(path))
    decoded = []

    class Counted(ImageFiles):
        def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
            decoded.append(len(rows))
            return super().__getitem__(rows)

    files = Counted([str(path / name) for name in data.train.ids], 3, data.shape[1:])
    prepare = Preprocessing.from_dataset(data, "auto", "interpolate", "standardize")
    some = batches(Split(files, data.train.labels, data.train.ids), prepare, PLAIN, 2)
    next(some)
    some.close()  # type: ignore[attr-defined]
    assert sum(decoded) <= 4 * 2  # the one taken, two ahead, one on its way
    assert not [one for one in threading.enumerate() if one.name == "decoding"]
