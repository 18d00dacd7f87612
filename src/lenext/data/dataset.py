"""Datasets: up to three splits of images and labels, the class names, and the source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from operator import add
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenext.data.image_files import ImageFiles
from lenext.data.preview import COLUMNS, MAX_ROWS, preview_html
from lenext.foundation.errors import DataError
from lenext.foundation.normalization import Normalization
from lenext.foundation.notebook import title_html
from lenext.foundation.seeds import generator
from lenext.foundation.settings import Fit

MIN_DEVIATION = 1e-3  # of a channel that is scaled; a constant one is not
MAX_STATISTICS_IMAGES = 10_000  # images from which the mean and deviation are computed
MAX_STATISTICS_FILES = 2_000  # the same if each has to be decoded first
STATISTICS_BATCH = 500  # images at a time


class Images(Protocol):
    """uint8 images (N, C, H, W): a tensor, or files that are decoded on access."""

    @property
    def shape(self) -> Sequence[int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels (N,), int64, and sample ids (N,): the index in the source, or the path."""

    images: Images
    labels: Tensor
    ids: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> "Split":
        """Return the samples of these rows, in this order."""
        images = self.images.take(rows) if isinstance(self.images, ImageFiles) else self.images[rows]
        return Split(images, self.labels[rows], self.ids[rows.numpy()])

    def rows_by_class(self) -> list[Tensor]:
        """Return the first images of the first classes, as a notebook shows them."""
        labels = range(min(MAX_ROWS, int(self.labels.max()) + 1 if len(self) else 0))
        return [self.images[(self.labels == label).nonzero()[:COLUMNS, 0]] for label in labels]

    def _repr_html_(self) -> str:
        return title_html("Split", f"{len(self):,} images") + preview_html(self.rows_by_class())

    def row_by_id(self) -> dict[Any, int]:
        """Return the row of each sample id."""
        return {sample: row for row, sample in enumerate(self.ids.tolist())}

    def find(self, ids: Sequence[Any]) -> Tensor:
        """Return the rows of these ids. Raises DataError if one is missing."""
        row_of = self.row_by_id()
        missing = [sample for sample in ids if sample not in row_of]
        if missing:
            raise DataError(f"sample {missing[0]!r} of the stored split is no longer in the data; restore the dataset")
        return torch.tensor([row_of[sample] for sample in ids], dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images in up to three splits.

    Attributes:
        name: Name of the dataset.
        classes: Class names, in the order of the labels.
        train: Training split.
        validation: Validation split, or None.
        test: Test split, or None.
        source: Origin of the data, with hashes if they are known.
        flip_invariant: Whether an image's mirror image is of the same class (not true of digits and letters).
        stored_fit: How files were resized (`crop` or `pad`); images to predict are treated the same.
        held_out: Names of the splits that were taken out of train, rather than provided by the source.
        is_split: Whether `split_dataset` has run.
        notes: Remarks for the user, one line each.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split | None = None
    test: Split | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    flip_invariant: bool = False
    stored_fit: Fit = "crop"
    held_out: tuple[str, ...] = ()
    is_split: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            classes = f"only '{self.classes[0]}'" if self.classes else "none"
            raise DataError(f"{self.name}: at least two classes are needed, found {classes}")

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        test_images: Any = None,
        test_labels: Any = None,
        classes: Sequence[str] = (),
        name: str = "arrays",
    ) -> "Dataset":
        """Build a dataset from arrays.

        Args:
            images: (N, H, W), (N, C, H, W) or (N, H, W, C), C of 1 or 3; integers 0 to 255, or floats 0 to 1.
            labels: (N,) or (N, 1); integers or names. With `classes`, integers are positions in it, else names too.
            test_images: Test images, in the same form; None without a test set.
            test_labels: Test labels, in the same form.
            classes: Class names in the order of the labels; by default the sorted distinct labels.
            name: Name of the dataset.

        Raises:
            DataError: The arrays do not fit together.
        """
        by_name = not classes
        names = tuple(classes) or class_names(labels)
        unit = is_unit(images)
        train = split_from_arrays(images, labels, names, name, by_name, unit)
        if (test_images is None) != (test_labels is None):
            raise DataError(f"{name}: test_images and test_labels belong together; give both or neither")
        test = None
        if test_images is not None:
            test = split_from_arrays(test_images, test_labels, names, f"{name} (test)", by_name, unit)
        return cls(name, names, train, test=test, source={"kind": "arrays"})

    def _repr_html_(self) -> str:
        counts = [f"{len(split):,} {name}" for name, split in self.splits().items()]
        detail = f"{', '.join(counts)}; {' x '.join(map(str, self.shape))}; {', '.join(self.classes[:MAX_ROWS])}"
        return title_html(self.name, detail) + preview_html(self.train.rows_by_class())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the stored images."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of each channel, over the training images alone.

        At most 10,000 images are read, or 2,000 if they stay in their files.
        """
        rows = torch.arange(len(self.train))
        in_files = isinstance(self.train.images, ImageFiles)
        max_images = MAX_STATISTICS_FILES if in_files else MAX_STATISTICS_IMAGES
        if len(rows) > max_images:
            rows = torch.randperm(len(rows), generator=generator(0))[:max_images].sort().values
        totals, squares, count = [0] * self.shape[0], [0] * self.shape[0], 0
        for batch in rows.split(STATISTICS_BATCH):
            pixels = self.train.images[batch].to(torch.int64)  # whole numbers: no order of additions changes their sum
            totals = list(map(add, totals, pixels.sum((0, 2, 3)).tolist()))
            squares = list(map(add, squares, pixels.square().sum((0, 2, 3)).tolist()))
            count += pixels.numel() // self.shape[0]
        variances = [(square * count - total**2) / count**2 for total, square in zip(totals, squares, strict=True)]
        std = [sqrt(variance) / 255 for variance in variances]
        return Normalization(
            tuple(total / count / 255 for total in totals),
            tuple(value if value >= MIN_DEVIATION else 1.0 for value in std),
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits().items())
        return f"Dataset({self.name}: {sizes}; {' x '.join(map(str, self.shape))}, {len(self.classes)} classes)"

    def splits(self) -> dict[str, Split]:
        """Return the existing splits, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def with_test(self, test_data: "Dataset") -> "Dataset":
        """Return this dataset with another one's test split, or its only split; classes are matched by name."""
        if self.test is not None:
            raise DataError(f"{self.name} already has a test set; remove the separate test data")
        split = test_data.test or test_data.train
        if split.images.shape[1:] != self.train.images.shape[1:]:
            ours, theirs = (" x ".join(map(str, shape)) for shape in (self.shape, split.images.shape[1:]))
            raise DataError(f"{test_data.name}: its images are {theirs}, those of {self.name} are {ours}")
        labels = match_classes(split.labels, test_data.classes, self.classes, test_data.name)
        source = {**self.source, **{f"test_{key}": value for key, value in test_data.source.items()}}
        return replace(self, test=replace(split, labels=labels), source=source, notes=self.notes + test_data.notes)


def match_classes(labels: Tensor, theirs: Sequence[str], ours: Sequence[str], where: str) -> Tensor:
    """Convert labels that index `theirs` to labels that index `ours`, by name. Raises DataError for a missing class."""
    used = {theirs[label] for label in labels.unique().tolist()}
    if unknown := sorted(used - set(ours)):
        raise DataError(f"{where}: class '{unknown[0]}' is not one of the training data's: {shorten_list(ours)}")
    label_of = {name: label for label, name in enumerate(ours)}
    return torch.tensor([label_of.get(name, -1) for name in theirs], dtype=torch.int64)[labels]


def shorten_list(names: Sequence[str], max_names: int = 12) -> str:
    """Join the first names by commas, and add how many there are in all."""
    return ", ".join(names[:max_names]) + (f", ... ({len(names)} in all)" if len(names) > max_names else "")


def class_names(labels: Any) -> tuple[str, ...]:
    """Return the sorted distinct labels as names; numbers are sorted as numbers."""
    return tuple(str(label) for label in np.unique(flat_labels(labels, "labels")).tolist())


def flat_labels(labels: Any, where: str) -> NDArray[Any]:
    """Convert labels (N,) or (N, 1) to an array (N,) of integers or text. Raises DataError."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where}: labels of shape {array.shape}; they must be (N,) or (N, 1)")
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "iubUS":
        raise DataError(f"{where}: labels of type {array.dtype}; they must be whole numbers or names")
    return array.astype(np.str_) if array.dtype.kind in "US" else array.astype(np.int64)


def split_from_arrays(images: Any, labels: Any, classes: Sequence[str], where: str, by_name: bool, unit: bool) -> Split:
    """Build a Split from arrays; sample ids are the positions.

    Args:
        images: As in `Dataset.from_arrays`.
        labels: As in `Dataset.from_arrays`.
        classes: Class names.
        where: What to name in errors.
        by_name: Whether numbers are class names rather than positions in `classes`.
        unit: Whether pixel values end at 1 rather than 255.

    Raises:
        DataError: The arrays do not fit together.
    """
    pixels, flat = pixel_tensor(images, where, unit), flat_labels(labels, where)
    if len(pixels) != len(flat):
        raise DataError(f"{where}: {len(pixels)} images but {len(flat)} labels")
    if len(flat) == 0:
        raise DataError(f"{where}: no images in it")
    kinds, inverse = np.unique(flat, return_inverse=True)
    label_of = {name: label for label, name in enumerate(classes)}
    if not by_name and flat.dtype.kind == "i":
        label_of = {str(label): label for label in range(len(classes))}
    if unknown := [kind for kind in kinds.tolist() if str(kind) not in label_of]:
        raise DataError(f"{where}: label {unknown[0]!r} is none of the classes: {shorten_list(classes)}")
    numbers = np.array([label_of[str(kind)] for kind in kinds.tolist()], dtype=np.int64)
    return Split(pixels, torch.from_numpy(numbers[inverse]), np.arange(len(flat)))


def is_unit(images: Any) -> bool:
    """Return whether images are floats from 0 to 1."""
    array = np.asarray(images)
    return array.dtype.kind == "f" and array.size > 0 and bool(array.max() <= 1)


def pixel_tensor(images: Any, where: str, unit: bool) -> Tensor:
    """Convert images, as `Dataset.from_arrays` takes them, to uint8 (N, C, H, W); `unit`: 1 is white."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise DataError(f"{where}: images of shape {array.shape}; they must be (N, H, W), (N, C, H, W) or (N, H, W, C)")
    if array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.shape[1] not in (1, 3):
        raise DataError(f"{where}: images of shape {array.shape}; one channel (grey) or three (RGB) are needed")
    if array.dtype.kind not in "uif":
        raise DataError(f"{where}: pixels of type {array.dtype}; they must be numbers")
    if array.dtype != np.uint8:
        if array.size and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise DataError(f"{where}: pixel values must lie between 0 and 255 (or floats between 0 and 1)")
        array = array * 255 if unit else array
        if array.size and array.max() > 255:
            raise DataError(f"{where}: pixel values up to {array.max() / 255:g}, where the training images end at 1")
        array = np.rint(array).astype(np.uint8)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
