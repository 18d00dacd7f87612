"""Figures of data: the images of each class, the channels of one image."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lenext.data import load
from lenext.data.augment import DRAWS_PER_IMAGE, Augmentation
from lenext.data.dataset import Dataset
from lenext.data.images import read_image
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.seeds import generator
from lenext.reporting.figures.images import channel_values, class_grid
from lenext.training.recipe import Recipe, key_value
from lenext.training.settings import resolve_augmentation
from lenext.workflows.prepare import find_recipe
from lenext.workflows.show.inputs import FILE_SIZE

MAX_CLASSES = 20
TABLE_SUFFIXES = (".csv", ".gz", ".pkl", ".pickle")


def data(
    data: str | Path | Dataset,
    *,
    per_class: int = 8,
    augmented: str | Path | Recipe = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Figure:
    """Draw training images of each class in a row, for up to 20 classes.

    Args:
        data: A name or a path, as for `train`, or a dataset.
        per_class: The number of images per class.
        augmented: A recipe, or the name of a recipe or a network: the same images are drawn again, augmented as
            training with it augments them.
        data_dir: The folder of the published datasets; None for the default.
        offline: Whether the network must not be used.

    Raises:
        ConfigurationError: `per_class` is below 1, or the recipe is unknown.
        DataError: The data cannot be read.
    """
    recipe = find_recipe(str(augmented)) if isinstance(augmented, str | Path) and augmented != "" else augmented
    if per_class < 1:
        raise ConfigurationError(f"per_class={per_class}: it must be at least 1")
    dataset = data if isinstance(data, Dataset) else load(data, data_dir=data_dir, offline=offline)
    split, classes = dataset.train, dataset.classes[:MAX_CLASSES]
    augment, seed = (resolve_augmentation(recipe, dataset), recipe.seed) if isinstance(recipe, Recipe) else (None, 0)
    rows, augmented_rows = [], []
    for label in range(len(classes)):
        pixels = split.images[(split.labels == label).nonzero()[:per_class, 0]]
        rows.append(pixels.numpy())
        if augment:
            augmented_rows.append(augmented_images(dataset, pixels, augment, generator(seed, label)).numpy())
    note = f"; augmentation: {augment.describe()}" if augment else ""
    return class_grid(rows, classes, f"{dataset.name}: {len(split):,} images{note}", augmented_rows)


def augmented_images(data: Dataset, images: Tensor, augment: Augmentation, random: torch.Generator) -> Tensor:
    """Return images (N, C, H, W), uint8, of a dataset as training would see them."""
    numbers = torch.rand(len(images), DRAWS_PER_IMAGE, generator=random)
    blank = [255 * mean for mean in data.normalization.mean]
    return augment(images, numbers, blank).round().clamp(0, 255).to(torch.uint8)


def channels(
    source: str | Path | Dataset,
    *,
    sample: int | None = None,
    crop: Sequence[int] = (),
    size: int | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Figure:
    """Draw an image's channels before and after normalization; up to 16 pixels a side with their values.

    Args:
        source: An image file; or data, by name or path, or as a dataset.
        sample: Which training sample of the data, counted from 0; None for the first.
        crop: Top, left, height and width of a part of the image, in pixels; empty for the full image.
        size: The pixels a side to which an image file is resized; None for 224.
        data_dir: The folder of the published datasets; None for the default.
        offline: Whether the network must not be used.

    Raises:
        ConfigurationError: The crop is outside of the image, or an option does not apply to the source.
        DataError: The image or the data cannot be read, or there is no such sample.
    """
    if not isinstance(source, Dataset) and is_image_file(Path(source)):
        if sample is not None:
            raise ConfigurationError(f"sample={sample}: {source} is one image; leave it out")
        side = key_value("image_size", FILE_SIZE if size is None else size)
        pixels = torch.from_numpy(read_image(source, 3, (side, side)).copy())
        values = pixels / 255
        mean, std = values.mean((1, 2), keepdim=True), values.std((1, 2), keepdim=True).clamp(min=1e-6)
        normalized = (values - mean) / std
        title = f"{Path(source).name}, normalized by its own mean and deviation"
    else:
        if size is not None:
            raise ConfigurationError(f"size={size}: data have a size of their own; leave it out")
        dataset = source if isinstance(source, Dataset) else load(source, data_dir=data_dir, offline=offline)
        sample, number = sample or 0, len(dataset.train)
        if not 0 <= sample < number:
            raise DataError(f"{dataset.name}: there is no sample {sample}; there are {number:,}, counted from 0")
        pixels = dataset.train.images[torch.tensor([sample])][0]
        normalized = dataset.normalization(pixels[None])[0]
        title = f"{dataset.name}, sample {sample}: {dataset.classes[int(dataset.train.labels[sample])]}"
    if crop:
        pixels, normalized = (crop_image(image, crop) for image in (pixels, normalized))
    return channel_values(pixels.numpy(), normalized.numpy(), title)


def is_image_file(path: Path) -> bool:
    """Whether a path is a file other than a table or a pickle."""
    return path.is_file() and path.suffix.lower() not in TABLE_SUFFIXES


def crop_image(image: Tensor, crop: Sequence[int]) -> Tensor:
    """Return a part (top, left, height, width) of an image (C, H, W). Raises ConfigurationError."""
    top, left, height, width = crop
    if min(crop) < 0 or top + height > image.shape[1] or left + width > image.shape[2] or not height * width:
        text = ",".join(map(str, crop))
        raise ConfigurationError(f"crop={text}: outside of {image.shape[1]} x {image.shape[2]}")
    return image[:, top : top + height, left : left + width]
