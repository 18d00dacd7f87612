"""Maps of what an answer hangs on, laid over their images."""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image (C, H, W) in grey, with a map (H, W) of 0 to 1 over it in colour, as (H, W, 3)."""
    grey = image.astype(np.float64).mean(0)[..., None] / 255
    if heat.shape != grey.shape[:2]:
        rows = np.arange(grey.shape[0]) * heat.shape[0] // grey.shape[0]
        columns = np.arange(grey.shape[1]) * heat.shape[1] // grey.shape[1]
        heat = heat[rows][:, columns]
    colours = mpl.colormaps["inferno"](np.clip(heat, 0, 1))[..., :3]
    strength = 0.25 + 0.6 * np.clip(heat, 0, 1)[..., None]
    return np.asarray(np.rint(255 * ((1 - strength) * grey + strength * colours)), dtype=np.uint8)
