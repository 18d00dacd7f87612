"""A Dataset: up to three Splits of images and labels, the names of the classes, and where it all came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenext.data.images import ImageFiles
from lenext.foundation.errors import DataError
from lenext.foundation.normalization import Normalization
from lenext.foundation.seeds import generator
from lenext.foundation.settings import Fit

STATISTICS_SAMPLE = 10_000  # images that the mean and deviation are taken from, at the most
OF_FILES = 2_000  # and where each has to be decoded for it


class Images(Protocol):
    """uint8 images (N, C, H, W): a tensor, or files that are decoded when they are asked for."""

    @property
    def shape(self) -> Sequence[int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels (N,) int64 and sample ids (N,): the index in the source, or the path."""

    images: Images
    labels: Tensor
    ids: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> "Split":
        """These rows, in this order."""
        images = self.images.take(rows) if isinstance(self.images, ImageFiles) else self.images[rows]
        return Split(images, self.labels[rows], self.ids[rows.numpy()])

    def find(self, ids: Sequence[Any]) -> Tensor:
        """The rows that have these ids. Raises DataError where one is gone."""
        place = {sample: row for row, sample in enumerate(self.ids.tolist())}
        missing = [sample for sample in ids if sample not in place]
        if missing:
            raise DataError(f"sample {missing[0]!r} of the stored split is no longer in the data; restore the data set")
        return torch.tensor([place[sample] for sample in ids], dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to learn from.

    name, classes:  how it is called; the class names, in the order of the labels
    train, validation, test:  the splits; those that the source does not have are None
    source:  where it came from, with hashes where they are known
    flip_invariant:  whether an image's mirror image is of the same class (not so for digits and letters)
    stored_fit:  how files were brought to one size (`crop` or `pad`); an image to predict is treated the same
    held_out:  which splits were taken out of train here, rather than given by the source
    is_split:  whether that was done already
    notes:  what a person should know, one line each
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
            found = f"only '{self.classes[0]}'" if self.classes else "none"
            raise DataError(f"{self.name}: at least two classes are needed, found {found}")

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
        """A data set out of a person's own arrays.

        images: (N, H, W), (N, C, H, W) or (N, H, W, C), C of 1 or 3; whole numbers 0 to 255, or floats 0 to 1.
        labels: (N,) or (N, 1); whole numbers or names. With `classes`, numbers are positions in it, else names too.
        Raises DataError for arrays that do not fit together.
        """
        by_name = not classes
        names = tuple(classes) or class_names(labels)
        unit = is_unit(images)
        train = arrays_split(images, labels, names, name, by_name, unit)
        if (test_images is None) != (test_labels is None):
            raise DataError(f"{name}: test_images and test_labels belong together; give both or neither")
        test = None
        if test_images is not None:
            test = arrays_split(test_images, test_labels, names, f"{name} (test)", by_name, unit)
        return cls(name, names, train, test=test, source={"kind": "arrays"})

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images as stored."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def normalization(self) -> Normalization:
        """Mean and deviation by channel, of the training images alone (of 10,000 of them, where there are more; of
        2,000 that stay in their files)."""
        rows = torch.arange(len(self.train))
        most = OF_FILES if isinstance(self.train.images, ImageFiles) else STATISTICS_SAMPLE
        if len(rows) > most:
            rows = torch.randperm(len(rows), generator=generator(0))[:most].sort().values
        total = torch.zeros(self.shape[0], dtype=torch.float64)
        squares, count = total.clone(), 0
        for some in rows.split(500):
            pixels = self.train.images[some].to(torch.float64) / 255
            total += pixels.sum((0, 2, 3))
            squares += pixels.square().sum((0, 2, 3))
            count += pixels.numel() // self.shape[0]
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        std[std < 1e-3] = 1.0  # a blank channel is left as it is
        return Normalization(tuple(mean.tolist()), tuple(std.tolist()))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits().items())
        return f"Dataset({self.name}: {sizes}; {' x '.join(map(str, self.shape))}, {len(self.classes)} classes)"

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def with_test(self, other: "Dataset") -> "Dataset":
        """The same with another data set's test split, or all of it where it has one split; classes match by name."""
        if self.test is not None:
            raise DataError(f"{self.name} has a test set of its own; leave the separate test data out")
        split = other.test or other.train
        if split.images.shape[1:] != self.train.images.shape[1:]:
            ours, theirs = (" x ".join(map(str, shape)) for shape in (self.shape, split.images.shape[1:]))
            raise DataError(f"{other.name}: its images are {theirs}, those of {self.name} are {ours}")
        labels = match_classes(split.labels, other.classes, self.classes, other.name)
        source = {**self.source, **{f"test_{key}": value for key, value in other.source.items()}}
        return replace(self, test=replace(split, labels=labels), source=source, notes=self.notes + other.notes)


def match_classes(labels: Tensor, theirs: Sequence[str], ours: Sequence[str], where: str) -> Tensor:
    """Labels that count in the order `theirs` in the order `ours`: by name. A class that ours lacks is an error."""
    used = {theirs[label] for label in labels.unique().tolist()}
    if strangers := sorted(used - set(ours)):
        raise DataError(f"{where}: class '{strangers[0]}' is not one of the training data's: {shorten_list(ours)}")
    place = {name: at for at, name in enumerate(ours)}
    return torch.tensor([place.get(name, -1) for name in theirs], dtype=torch.int64)[labels]


def shorten_list(names: Sequence[str], most: int = 12) -> str:
    """The first names, comma-separated."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def class_names(labels: Any) -> tuple[str, ...]:
    """The sorted distinct labels as names; numbers sort as numbers."""
    return tuple(str(label) for label in np.unique(flat_labels(labels, "labels")).tolist())


def flat_labels(labels: Any, where: str) -> NDArray[Any]:
    """Labels (N,) or (N, 1) as an array (N,) of whole numbers or text."""
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


def arrays_split(images: Any, labels: Any, classes: Sequence[str], where: str, by_name: bool, unit: bool) -> Split:
    """A Split out of arrays; sample ids are the positions. by_name: numbers are names of classes, not positions."""
    pixels, flat = pixel_tensor(images, where, unit), flat_labels(labels, where)
    if len(pixels) != len(flat):
        raise DataError(f"{where}: {len(pixels)} images but {len(flat)} labels")
    if len(flat) == 0:
        raise DataError(f"{where}: no images in it")
    kinds, inverse = np.unique(flat, return_inverse=True)
    place = {name: at for at, name in enumerate(classes)}
    if not by_name and flat.dtype.kind == "i":
        place = {str(at): at for at in range(len(classes))}
    if strangers := [kind for kind in kinds.tolist() if str(kind) not in place]:
        raise DataError(f"{where}: label {strangers[0]!r} is none of the classes: {shorten_list(classes)}")
    numbers = np.array([place[str(kind)] for kind in kinds.tolist()], dtype=np.int64)
    return Split(pixels, torch.from_numpy(numbers[inverse]), np.arange(len(flat)))


def is_unit(images: Any) -> bool:
    """Whether images are floats from 0 to 1."""
    array = np.asarray(images)
    return array.dtype.kind == "f" and array.size > 0 and bool(array.max() <= 1)


def pixel_tensor(images: Any, where: str, unit: bool) -> Tensor:
    """Images of the shapes and types that `Dataset.from_arrays` takes, as uint8 (N, C, H, W); unit: 1 is white."""
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
