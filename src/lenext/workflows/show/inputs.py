"""The inputs of figures: runs, and images as files or pixels."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lenext.data.images import read_image
from lenext.foundation.errors import ConfigurationError
from lenext.runs.folder import Run
from lenext.runs.weights import Description
from lenext.workflows.opened_run import OpenedRun

AnyRun = str | Path | Run | OpenedRun
Image = str | Path | NDArray[np.uint8] | Tensor
"""An image file, or pixels (C, H, W) from 0 to 255."""
FILE_SIZE = 224  # pixels a side


def load_image(image: Image, description: Description) -> tuple[Tensor, NDArray[np.uint8]]:
    """Load an image as the network takes it, (1, C, H, W), and as pixels (C, H, W) of the same size."""
    prepare = description.preprocessing
    shape = (prepare.channels, *prepare.stored_size)
    if isinstance(image, str | Path):
        pixels = torch.from_numpy(read_image(image, prepare.channels, prepare.stored_size, prepare.stored_fit).copy())
    else:
        pixels = torch.from_numpy(as_pixels(image))
        if tuple(pixels.shape) != shape:
            raise ConfigurationError(f"an image of {tuple(pixels.shape)}: this network takes pixels of {shape}")
    return prepare(pixels[None]), resize_pixels(pixels, prepare.image_size)


def as_pixels(image: object) -> NDArray[np.uint8]:
    """Return pixels (C, H, W) of an array or a tensor.

    Raises:
        ConfigurationError: It is neither, or of another shape.
    """
    if isinstance(image, np.ndarray | Tensor) and image.ndim == 3 and image.shape[0] in (1, 3):
        return torch.as_tensor(image).to(torch.uint8).numpy()
    shape = f" of {tuple(image.shape)}" if isinstance(image, np.ndarray | Tensor) else ""
    raise ConfigurationError(
        f"a {type(image).__name__}{shape}: give an image file, or pixels (1 or 3, H, W) from 0 to 255"
    )


def resize_pixels(pixels: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image (C, H, W) to (height, width)."""
    resized = F.interpolate(pixels[None].float(), size=size, mode="bilinear", antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8).numpy()
