"""Data sets by name or by path. A data set to add: one loader and one line in DATASETS."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lenext.foundation.errors import DataError, unknown_name
from lenext.foundation.files import cache_folder, expand_path
from lenext.foundation.settings import Fit, OnBadImage, convert

if TYPE_CHECKING:
    from lenext.data.dataset import Dataset


IN_PYTHON_PREFIX = "(made in Python) "
"""Before the name of data that a run cannot load again."""


@dataclass(frozen=True)
class Entry:
    """A data set known by name: its loader as `module:function`, what it is, and its folder under the data folder."""

    loader: str
    about: str
    folder: str = ""


DATASETS = {
    "digits": Entry("digits:load", "1,797 handwritten digits of 8 px, enlarged to 28; comes with scikit-learn"),
    "mnist": Entry("idx:load_mnist", "70,000 handwritten digits, grey, 28 px", "MNIST/raw"),
    "fashion-mnist": Entry("idx:load_fashion_mnist", "70,000 pieces of clothing, grey, 28 px", "FashionMNIST/raw"),
    "cifar10": Entry(
        "cifar:load", "60,000 small photographs of 10 kinds of things, colour, 32 px", "cifar-10-batches-py"
    ),
}


@dataclass(frozen=True)
class LoadOptions:
    """How a source is to be read.

    data_dir, offline:  where published data lie or are put, and whether the network may be used
    image_size:       (height, width) that files of any size are brought to, or "auto": their own if they share one
    fit:                how: `crop` (shorter side, then the centre) or `pad` (the whole image on black)
    label_column:       a CSV's column of labels: a name, a number from 0, or "auto"
    on_bad_image:       whether an image that cannot be read stops everything or is left out
    channels:           of images in files: 1, 3, or "auto": 1 where all are grey
    classes:            the names that labels are to be matched with; empty: those that are found
    separate_test:      whether the test set comes from elsewhere
    """

    data_dir: Path
    offline: bool = False
    image_size: tuple[int, int] | Literal["auto"] = "auto"
    fit: Fit = "crop"
    label_column: str = "auto"
    on_bad_image: OnBadImage = "stop"
    channels: int | Literal["auto"] = "auto"
    classes: tuple[str, ...] = ()
    separate_test: bool = False


def load(
    source: str | os.PathLike[str],
    *,
    test: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    image_size: int | tuple[int, int] | Literal["auto"] = "auto",
    fit: Fit = "crop",
    label_column: str = "auto",
    on_bad_image: OnBadImage = "stop",
    channels: int | Literal["auto"] = "auto",
) -> Dataset:
    """A data set by name (see DATASETS) or by path: an IDX, CIFAR-10 or image folder, a CSV, a pickle.

    test: a separate source for the test set; its classes are matched by name.
    The other arguments are those of `Place`. Raises DataError or DownloadError.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    folder = expand_path(data_dir) if data_dir is not None else cache_folder()
    convert("fit", fit, Fit)
    convert("on_bad_image", on_bad_image, OnBadImage)
    options = LoadOptions(
        folder, offline, size, fit, label_column, on_bad_image, channels, separate_test=test is not None
    )
    data = load_one(str(source), options)
    if test is None:
        return data
    like = replace(options, image_size=data.shape[1:], channels=data.shape[0], classes=data.classes)
    return data.with_test(load_one(str(test), like))


def load_one(source: str, options: LoadOptions) -> Dataset:
    """One source, without its separate test set."""
    entry, url = DATASETS.get(source), "://" in source
    table = url or source.lower().endswith((".csv", ".csv.gz"))
    if options.label_column != "auto" and not table:
        raise DataError(f"label_column={options.label_column}: {source} is no CSV table; leave it out")
    if entry:
        module, _, function = entry.loader.partition(":")
        return import_module(f"lenext.data.{module}").__dict__[function](options)
    if source.startswith(IN_PYTHON_PREFIX):
        raise DataError(f"the data '{source}' cannot be loaded again; give them")
    if url:
        return import_module("lenext.data.table").load(source, options)
    path = expand_path(source)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise DataError(f"{source}: there is no such file or folder")
        raise DataError(unknown_name("data set", source, DATASETS, "A path to your own data works too"))
    return import_module(f"lenext.data.{recognise(path)}").load_path(path, options)


def is_image_folder(source: str) -> bool:
    """Return whether a source is a folder of image files, where one may be broken."""
    if source in DATASETS or "://" in source or not expand_path(source).is_dir():
        return False
    return recognise(expand_path(source)) == "folder"


def recognise(path: Path) -> str:
    """Which loader reads what lies at a path."""
    if path.is_dir():
        from lenext.data import cifar, idx

        if idx.find_folder(path):
            return "idx"
        return "cifar" if cifar.find_folder(path) else "folder"
    name = path.name.lower()
    kinds = {"table": (".csv", ".csv.gz"), "arrays": (".pkl", ".pickle", ".pkl.gz", ".pickle.gz")}
    for loader, suffixes in kinds.items():
        if name.endswith(suffixes):
            return loader
    raise DataError(
        f"{path}: not a kind of data that is known; give a folder of class folders, a folder of IDX or CIFAR-10 files, "
        "a .csv table or a .pkl of arrays"
    )
