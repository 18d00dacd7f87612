from typing import Any

import numpy as np
import pytest
import torch

import lenext
from lenext.foundation.errors import DataError

GREY = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([2, 7, 2, 7, 7, 2])


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (GREY, (1, 5, 4)),
        (GREY[:, None], (1, 5, 4)),
        (GREY[..., None], (1, 5, 4)),
        (np.repeat(GREY[..., None], 3, 3), (3, 5, 4)),
        (np.repeat(GREY[:, None], 3, 1), (3, 5, 4)),
        (torch.from_numpy(GREY), (1, 5, 4)),
        (GREY / 255, (1, 5, 4)),
        (GREY.astype(np.int64), (1, 5, 4)),
        (GREY.tolist(), (1, 5, 4)),
    ],
)
def test_images_in_their_usual_shapes(images: Any, shape: tuple[int, ...]) -> None:
    data = lenext.Dataset.from_arrays(images, LABELS)
    assert data.shape == shape
    assert np.array_equal(data.train.images[torch.arange(6)][:, 0].numpy(), GREY)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.tolist(), LABELS.astype(float)])
def test_labels_become_classes(labels: Any) -> None:
    data = lenext.Dataset.from_arrays(GREY, labels)
    assert data.classes == ("2", "7")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1, 0]


def test_labels_may_be_names_or_places_in_given_classes() -> None:
    names = ["dog" if label == 7 else "cat" for label in LABELS]
    assert lenext.Dataset.from_arrays(GREY, names).classes == ("cat", "dog")
    assert lenext.Dataset.from_arrays(GREY, names, classes=["dog", "cat"]).train.labels.tolist() == [1, 0, 1, 0, 0, 1]
    assert lenext.Dataset.from_arrays(GREY, [0, 1, 0, 1, 1, 0], classes=["dog", "cat"]).train.labels[1] == 1


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (GREY, LABELS[:5], "6 images but 5 labels"),
        (GREY, np.zeros((6, 2)), r"labels of shape \(6, 2\)"),
        (GREY, LABELS + 0.5, "labels of type float64"),
        (GREY.astype(int) + 200, LABELS, "between 0 and 255"),
        (np.full(GREY.shape, np.nan), LABELS, "between 0 and 255"),
        (GREY[0], LABELS, r"images of shape \(5, 4\)"),
        (np.zeros((6, 2, 5, 4)), LABELS, r"one channel \(grey\) or three"),
        (GREY.astype(str), LABELS, "pixels of type"),
        (GREY[:0], LABELS[:0], "no images"),
        (GREY, np.zeros(6, int), "at least two classes"),
    ],
)
def test_what_does_not_fit_is_one_line(images: Any, labels: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        lenext.Dataset.from_arrays(images, labels)


def test_test_arrays_share_the_classes() -> None:
    data = lenext.Dataset.from_arrays(GREY, LABELS, test_images=GREY[:2], test_labels=[7, 2])
    assert data.test is not None
    assert data.test.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="label 9 is none of the classes"):
        lenext.Dataset.from_arrays(GREY, LABELS, test_images=GREY[:2], test_labels=[7, 9])
    with pytest.raises(DataError, match="belong together"):
        lenext.Dataset.from_arrays(GREY, LABELS, test_images=GREY[:2])


def test_normalization_is_of_the_training_images_alone() -> None:
    data = lenext.Dataset.from_arrays(GREY, LABELS, test_images=255 - GREY, test_labels=LABELS)
    assert data.normalization.mean[0] == pytest.approx((GREY / 255).mean(), abs=1e-12)
    assert data.normalization.std[0] == pytest.approx((GREY / 255).std(), abs=1e-9)
    normalized = data.normalization(torch.from_numpy(GREY)[:, None])
    assert float(normalized.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normalized.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_numbers_are_positions_in_given_classes_in_both_splits() -> None:
    data = lenext.Dataset.from_arrays(
        GREY, [0, 1, 2, 0, 1, 2], classes=["1", "2", "3"], test_images=GREY[:2], test_labels=[1, 2]
    )
    assert data.test is not None
    assert data.test.labels.tolist() == [1, 2]


def test_training_images_say_whether_one_is_white() -> None:
    data = lenext.Dataset.from_arrays(GREY / 255, LABELS, test_images=GREY[:2] / 255 / 300, test_labels=[2, 7])
    assert data.test is not None
    assert int(data.test.images[torch.arange(2)].max()) <= 1
    with pytest.raises(DataError, match="end at 1"):
        lenext.Dataset.from_arrays(GREY / 255, LABELS, test_images=GREY[:2].astype(float), test_labels=[2, 7])
