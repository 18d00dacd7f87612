"""Load a dataset by name or by path.

To add a dataset, write a loader and add one line to DATASETS.
"""

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
"""Prefix of the source name of data that a run cannot load again."""


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset that can be loaded by name.

    Attributes:
        loader: `module:function` in `lenext.data`.
        about: What the dataset contains, in one line.
        folder: Its folder below the data folder.
    """

    loader: str
    about: str
    folder: str = ""


DATASETS = {
    "digits": DatasetEntry("digits:load", "1,797 handwritten digits of 8 px, enlarged to 28; comes with scikit-learn"),
    "mnist": DatasetEntry("idx:load_mnist", "70,000 handwritten digits, grey, 28 px", "MNIST/raw"),
    "fashion-mnist": DatasetEntry(
        "idx:load_fashion_mnist", "70,000 pieces of clothing, grey, 28 px", "FashionMNIST/raw"
    ),
    "cifar10": DatasetEntry(
        "cifar:load", "60,000 small photographs of 10 kinds of things, colour, 32 px", "cifar-10-batches-py"
    ),
}


@dataclass(frozen=True)
class LoadOptions:
    """Options for reading a source.

    Attributes:
        data_dir: Folder of published datasets; missing ones are downloaded into it.
        offline: Whether downloads are forbidden.
        image_size: (height, width) to which image files are resized; "auto" keeps their size if all share one.
        fit: How files are resized: `crop` (scale the shorter side, crop the centre) or `pad` (image on black).
        label_column: Label column of a CSV: a name, a number from 0, or "auto".
        on_bad_image: Whether an unreadable image stops loading or is left out.
        channels: Channels of images in files: 1, 3, or "auto": 1 if all are grey.
        classes: Class names to which labels are matched; empty: the classes of the source.
        separate_test: Whether the test set comes from another source.
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
    """Load a dataset by name (see DATASETS) or by path: an IDX, CIFAR-10 or image folder, a CSV, a pickle.

    Args:
        source: Name, path, or address of a CSV.
        test: Separate source for the test set; its classes are matched by name.
        data_dir: Folder of published datasets; the cache folder by default.
        offline: Whether downloads are forbidden.
        image_size: Side, or (height, width), in pixels; see `LoadOptions`, as for the arguments that follow.
        fit: `crop` or `pad`.
        label_column: Label column of a CSV.
        on_bad_image: `stop` or `skip`.
        channels: 1, 3 or "auto".

    Raises:
        DataError: The source cannot be read.
        DownloadError: The source cannot be downloaded.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    folder = expand_path(data_dir) if data_dir is not None else cache_folder()
    convert("fit", fit, Fit)
    convert("on_bad_image", on_bad_image, OnBadImage)
    options = LoadOptions(
        folder, offline, size, fit, label_column, on_bad_image, channels, separate_test=test is not None
    )
    data = load_source(str(source), options)
    if test is None:
        return data
    test_options = replace(options, image_size=data.shape[1:], channels=data.shape[0], classes=data.classes)
    return data.with_test(load_source(str(test), test_options))


def shown_source(source: str) -> str:
    """Return the name of a source as pages show it: its last part, without what follows a `?` in an address."""
    return Path(source.removeprefix(IN_PYTHON_PREFIX).split("?")[0].rstrip("/")).name


def source_stem(source: str) -> str:
    """Return the last part of a source, in small letters, as a part of a folder's name."""
    return (Path(shown_source(source)).stem or "data").lower().replace(" ", "_")


def load_source(source: str, options: LoadOptions) -> Dataset:
    """Load one source, without a separate test set."""
    entry, is_url = DATASETS.get(source), "://" in source
    is_table = is_url or source.lower().endswith((".csv", ".csv.gz"))
    if options.label_column != "auto" and not is_table:
        raise DataError(f"label_column={options.label_column}: {source} is not a CSV table; remove the option")
    if entry:
        module, _, function = entry.loader.partition(":")
        return import_module(f"lenext.data.{module}").__dict__[function](options)
    if source.startswith(IN_PYTHON_PREFIX):
        raise DataError(f"the data '{source}' were made in Python; pass them as data=...")
    if is_url:
        return import_module("lenext.data.table").load(source, options)
    path = expand_path(source)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise DataError(f"{source}: there is no such file or folder")
        raise DataError(unknown_name("data set", source, DATASETS, "A path to your own data works too"))
    return import_module(f"lenext.data.{detect_loader(path)}").load_path(path, options)


def is_image_folder(source: str) -> bool:
    """Return whether a source is a folder of image files."""
    if source in DATASETS or "://" in source or not expand_path(source).is_dir():
        return False
    return detect_loader(expand_path(source)) == "folder"


def detect_loader(path: Path) -> str:
    """Return the module of `lenext.data` that reads a path. Raises DataError if none does."""
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
        f"{path}: not a supported dataset; give a folder of class folders, a folder of IDX or CIFAR-10 files, "
        "a .csv table or a .pkl of arrays"
    )
