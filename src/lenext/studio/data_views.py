"""The data browser: the classes of a data set, its images, and images as training would augment them."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lenext.data import DATASETS, is_image_folder, load, shown_source
from lenext.data.dataset import Dataset, Split
from lenext.data.images import to_image
from lenext.foundation.errors import ConfigurationError, DataError, unknown_name
from lenext.foundation.files import expand_path
from lenext.foundation.notebook import png_bytes
from lenext.foundation.seeds import generator
from lenext.models import MODELS, find_variant
from lenext.runs.folder import modified_ns
from lenext.training.data_keys import AugmentationKeys
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve_augmentation
from lenext.workflows.prepare import find_recipe
from lenext.workflows.show.images import augmented_images

MAX_OPEN = 2  # data sets in memory
FOLDER_SIDE = 160  # pixels to which the photographs of a folder are resized
PAGE_IMAGES = 60
MAX_DRAWS = 24  # of the augmentation of an image


class OpenData:
    """Data sets that are open, the most recently used last."""

    def __init__(self, data_dir: Path | None, offline: bool) -> None:
        self.data_dir, self.offline = data_dir, offline
        self.opened: OrderedDict[tuple[str, int], tuple[int, Dataset]] = OrderedDict()
        self.lock = threading.Lock()
        self.loading: dict[tuple[str, int], threading.Lock] = {}

    def open(self, source: str, folder_side: int = FOLDER_SIDE, *, is_fresh: bool = False) -> Dataset:
        """Return a data set by its name or path.

        Args:
            source: Its name or path.
            folder_side: The pixels a side to which the photographs of a folder are resized.
            is_fresh: Whether data that have changed since they were opened are opened again.

        Raises:
            LenextError: It cannot be read.
        """
        check_source(source)
        is_folder = is_image_folder(source)
        key = (source, folder_side if is_folder else 0)
        with self.lock:
            loading = self.loading.setdefault(key, threading.Lock())
        with loading:  # a source is loaded once, and others meanwhile
            with self.lock:
                before = self.opened.get(key)
                if before and not (is_fresh and before[0] != newest_change(source)):
                    self.opened.move_to_end(key)
                    return before[1]
            modified = newest_change(source)
            data = load(
                source, data_dir=self.data_dir, offline=self.offline,
                image_size=folder_side if is_folder else "auto", on_bad_image="skip" if is_folder else "stop",
            )  # fmt: skip
            with self.lock:
                self.opened[key] = (modified, data)
                while len(self.opened) > MAX_OPEN:
                    self.opened.popitem(last=False)
                self.loading = {
                    each: lock for each, lock in self.loading.items() if each in self.opened or lock.locked()
                }
            return data


def newest_change(source: str) -> int:
    """Return when a file, or a folder or one of the two levels of folders in it, was changed; 0 for data by name."""
    if source in DATASETS or "://" in source:
        return 0
    path = expand_path(source)
    folders = [path, *(each for pattern in ("*/", "*/*/") for each in path.glob(pattern))] if path.is_dir() else [path]
    return max(map(modified_ns, folders))


def check_source(source: str) -> None:
    """Raise DataError for a source that is no name, address, file or folder."""
    if not source:
        raise DataError("data: give a name or a path")
    if source not in DATASETS and "://" not in source and not expand_path(source).exists():
        raise DataError(f"{source}: there is no such data set, file or folder")


def describe_data(source: str, data: Dataset) -> dict[str, Any]:
    """Return the classes of a data set, and how many images of each are in each split."""
    splits = {
        name: split.labels.bincount(minlength=len(data.classes)).tolist() for name, split in data.splits().items()
    }
    return {
        "source": source, "name": shown_source(data.name), "classes": list(data.classes), "shape": list(data.shape),
        "splits": splits, "notes": list(data.notes), "preview": preview_network(source, data),
        "is_folder": is_image_folder(source),
    }  # fmt: skip


def preview_network(source: str, data: Dataset) -> str:
    """Return the network whose augmentation is shown first: one that is made for such images."""
    if is_image_folder(source):
        return "resnet18"
    return "lenet" if data.shape[0] == 1 else "lenet_32px"


def list_images(data: Dataset, split_name: str, label: str, page: int) -> dict[str, Any]:
    """Return a page of the images of a split.

    Args:
        data: The data set.
        split_name: Name of the split.
        label: The class whose images are listed; empty for all.
        page: From 0.

    Raises:
        DataError: There is no such split, class or page.
    """
    split = find_split(data, split_name)
    rows = torch.arange(len(split))
    if label:
        if label not in data.classes:
            raise DataError(unknown_name("class", label, data.classes))
        rows = (split.labels == data.classes.index(label)).nonzero()[:, 0]
    pages = max(1, -(-len(rows) // PAGE_IMAGES))
    if not 0 <= page < pages:
        raise DataError(f"page={page}: there are {pages}, from 0")
    chosen = rows[page * PAGE_IMAGES : (page + 1) * PAGE_IMAGES].tolist()
    images = [
        {"row": row, "sample": str(split.ids[row]), "label": data.classes[int(split.labels[row])]} for row in chosen
    ]
    return {"images": images, "split": split_name, "page": page, "pages": pages, "count": len(rows)}


def find_split(data: Dataset, name: str) -> Split:
    """Return a split by its name. Raises DataError."""
    splits = data.splits()
    if name not in splits:
        raise DataError(f"{data.name}: {unknown_name('split', name, splits)}")
    return splits[name]


def find_image(data: Dataset, split_name: str, row: int) -> Tensor:
    """Return an image (C, H, W), uint8. Raises DataError where there is none."""
    split = find_split(data, split_name)
    if not 0 <= row < len(split):
        raise DataError(f"{data.name}: there is no image {row} in {split_name}; there are {len(split):,}, from 0")
    return split.images[torch.tensor([row])][0]


def to_png(image: Tensor) -> bytes:
    """Return an image (C, H, W), uint8, as PNG."""
    return png_bytes(to_image(image.numpy()))


def preview_side(network: str) -> int:
    """Return the pixels a side at which training would augment the photographs of a folder for a network."""
    return find_variant(network).image_size if network in MODELS else FOLDER_SIDE


def preview_recipe(name: str, keys: Mapping[str, str]) -> Recipe:
    """Return the recipe of a network or a named recipe, with keys of its augmentation changed.

    Raises:
        ConfigurationError: The recipe does not exist, or a key is none of the augmentation's.
    """
    for key in keys:
        if key not in AugmentationKeys.__dataclass_fields__:
            raise ConfigurationError(
                unknown_name("key of the augmentation", key, AugmentationKeys.__dataclass_fields__)
            )
    return find_recipe(name).with_keys({key: value for key, value in keys.items() if value})


def augment_image(data: Dataset, image: Tensor, recipe: Recipe, draw: int) -> Tensor:
    """Return an image as training would see it.

    Args:
        data: The data set that it is of.
        image: (C, H, W), uint8.
        recipe: Whose augmentation is applied, without mixing of images.
        draw: Which of the random draws.

    Raises:
        ConfigurationError: The augmentation does not suit the size of the images.
    """
    if not 0 <= draw < MAX_DRAWS:
        raise ConfigurationError(f"draw={draw}: it must be from 0 to {MAX_DRAWS - 1}")
    augment = resolve_augmentation(recipe, data)
    return augmented_images(data, image[None], augment, generator(recipe.seed, draw))[0]
