"""The data browser: the classes of a data set, its images, and images as training would augment them."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lenext.data import DATASETS, is_image_folder, load, shown_source
from lenext.data.augment import DRAWS_PER_IMAGE
from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import ConfigurationError, DataError, unknown_name
from lenext.foundation.files import expand_path
from lenext.foundation.notebook import png_bytes
from lenext.foundation.seeds import generator
from lenext.training.data_keys import AugmentationKeys
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve_augmentation
from lenext.workflows.prepare import find_recipe

MAX_OPEN = 2  # data sets in memory
FOLDER_SIDE = 160  # pixels to which the photographs of a folder are resized
PAGE_IMAGES = 60
MAX_DRAWS = 24  # of the augmentation of an image


class OpenData:
    """Data sets that are open, the most recently used last."""

    def __init__(self, data_dir: Path | None, offline: bool) -> None:
        self.data_dir, self.offline = data_dir, offline
        self.opened: OrderedDict[tuple[str, int], Dataset] = OrderedDict()
        self.lock = threading.Lock()

    def open(self, source: str) -> Dataset:
        """Return a data set by its name or path.

        Raises:
            LenextError: It cannot be read.
        """
        if not source:
            raise DataError("data: give a name or a path")
        key = (source, written(source))
        with self.lock:
            if key in self.opened:
                self.opened.move_to_end(key)
                return self.opened[key]
            size: int | str = FOLDER_SIDE if is_image_folder(source) else "auto"
            data = load(
                source, data_dir=self.data_dir, offline=self.offline, image_size=size,  # type: ignore[arg-type]
                on_bad_image="skip" if size != "auto" else "stop",
            )  # fmt: skip
            self.opened[key] = data
            while len(self.opened) > MAX_OPEN:
                self.opened.popitem(last=False)
            return data


def written(source: str) -> int:
    """Return when a file or folder was last written; 0 for data with a name."""
    if source in DATASETS or "://" in source:
        return 0
    path = expand_path(source)
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise DataError(f"{source}: there is no such data set, file or folder") from error


def describe_data(source: str, data: Dataset) -> dict[str, Any]:
    """Return the classes of a data set, and how many images of each are in each split."""
    splits = {
        name: split.labels.bincount(minlength=len(data.classes)).tolist() for name, split in data.splits().items()
    }
    return {
        "source": source, "name": shown_source(data.name), "classes": list(data.classes), "shape": list(data.shape),
        "splits": splits, "notes": list(data.notes),
    }  # fmt: skip


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
    return {"images": images, "page": page, "pages": pages, "count": len(rows)}


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
    pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
    return png_bytes(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


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
    numbers = torch.rand(1, DRAWS_PER_IMAGE, generator=generator(recipe.seed, draw))
    blank = [255 * mean for mean in data.normalization.mean]
    return augment(image[None], numbers, blank)[0].round().clamp(0, 255).to(torch.uint8)
