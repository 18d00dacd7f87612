"""Figures of convolutions: filtered images, the kernels of a first layer, feature maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenext.reporting.figures.canvas import TRAIN, WITHOUT_GRID, draw_image, new_figure, set_title, tile_images

HAND_MADE_KERNELS: Mapping[str, Sequence[Sequence[float]]] = {
    "vertical edges": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "horizontal edges": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "all edges": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "blur": ((1 / 9,) * 3,) * 3,
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
}
"""The 3 x 3 kernels of textbooks: Sobel's two, the Laplacian, a mean, and the image less its Laplacian."""
UNCHANGED_RANGE = ("blur", "sharpen")  # kernels that sum to 1: their output is drawn from 0 to 255 like the image
FEATURE_MAP_COLUMNS = 8


def cross_correlate(image: NDArray[np.floating[Any]], kernel: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Cross-correlate an image (H, W) with a kernel (h, w), with repeated edges, into (H, W)."""
    height, width = kernel.shape
    padding = (height // 2, (height - 1) // 2), (width // 2, (width - 1) // 2)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, padding, mode="edge"), kernel.shape)
    return np.asarray(np.einsum("hwij,ij->hw", windows, kernel))


def filtered_images(grey: NDArray[np.floating[Any]], learned: NDArray[np.floating[Any]], title: str) -> Figure:
    """Draw a grey image (H, W) filtered by the hand-made kernels, and below by up to ten learned ones (N, h, w)."""
    columns = len(HAND_MADE_KERNELS)
    kernels = [(name, np.array(kernel)) for name, kernel in HAND_MADE_KERNELS.items()]
    kernels += [(f"learned {number}", kernel) for number, kernel in enumerate(learned[: 2 * columns], 1)]
    rows = -(-len(kernels) // columns)
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(1.9 * (columns + 1), 2.15 * rows + 0.4, nrows=rows, ncols=columns + 1, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        grid[0, 0].axis("on")
        draw_image(grid[0, 0], grey[..., None])
        grid[0, 0].set_title("image", fontsize=9, weight="normal")
        for index, (name, kernel) in enumerate(kernels):
            axes = grid[index // columns, 1 + index % columns]
            output = cross_correlate(grey, kernel)
            bound = float(np.abs(output - (output.mean() if kernel.sum() > 0.5 else 0)).max()) or 1.0
            low, high = (0.0, 255.0) if name in UNCHANGED_RANGE else (-bound, bound)
            axes.imshow(output, cmap="gray", vmin=low, vmax=high)
            axes.set_title(name, fontsize=9, weight="normal")
        set_title(figure, title)
        return figure


def kernel_grid(weights: NDArray[np.floating[Any]], title: str, max_kernels: int = 96) -> Figure:
    """Draw the kernels (N, C, h, w) of a first layer: in colour for three channels, else their first channel."""
    weights = weights[:max_kernels]
    low, high = weights.min((1, 2, 3), keepdims=True), weights.max((1, 2, 3), keepdims=True)
    images = np.asarray(255 * (weights - low) / np.maximum(high - low, 1e-12), dtype=np.uint8)
    images = images if images.shape[1] == 3 else images[:, :1]
    sheet = tile_images(images, columns=int(np.ceil(np.sqrt(len(images) * 1.6))), gap=1)
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = new_figure(8, 8 * sheet.shape[0] / sheet.shape[1] + 0.6)
        draw_image(axes, sheet, interpolation="nearest")
        set_title(figure, title)
        return figure


def feature_map_grid(
    image: NDArray[np.uint8], maps: NDArray[np.floating[Any]], title: str, max_maps: int = 31
) -> Figure:
    """Draw an image (C, H, W) and a layer's feature maps (channels, h, w) of it, each scaled to its own range."""
    maps = maps[:max_maps]
    columns = FEATURE_MAP_COLUMNS
    rows = -(-(len(maps) + 1) // columns)
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(1.3 * columns, 1.45 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        draw_image(grid.flat[0], image.transpose(1, 2, 0))
        grid.flat[0].set_title("image", fontsize=8, weight="normal")
        for number, values in enumerate(maps, 1):
            axes = grid.flat[number]
            axes.imshow(values, cmap="viridis")
            axes.set_title(f"{number}", fontsize=8, weight="normal", color=TRAIN)
        set_title(figure, title)
        return figure
