"""Figures of images: grids with captions, the classes of a dataset, an image's channels."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenext.reporting.figures.canvas import (
    INK,
    WITHOUT_GRID,
    draw_image,
    new_figure,
    set_title,
    shorten,
    tile_images,
)

MAX_SIDE_WITH_VALUES = 16  # pixels


def image_grid(
    images: NDArray[np.uint8], captions: Sequence[str], title: str, columns: int = 8, colors: Sequence[str] = ()
) -> Figure:
    """Draw images (N, C, H, W) in a grid.

    Args:
        images: Pixel values from 0 to 255.
        captions: One or two lines below each image.
        title: The title of the figure.
        columns: The most images in a row.
        colors: The colour of each caption; all in ink where there are none.
    """
    number = len(images)
    columns = min(columns, max(number, 5))
    rows = max(1, -(-number // columns))
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(1.45 * columns, 1.85 * rows + 0.35, nrows=rows, ncols=columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            axes.axis("off")
            if index >= number:
                continue
            draw_image(axes, images[index].transpose(1, 2, 0))
            style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 9, "transform": axes.transAxes}
            axes.text(0.5, -0.06, captions[index], color=colors[index] if colors else INK, **style)
        if number == 0:
            grid[0, 0].text(0, 0.5, "none", fontsize=11, transform=grid[0, 0].transAxes)
        set_title(figure, title)
        return figure


def class_grid(
    rows: Sequence[NDArray[np.uint8]], classes: Sequence[str], title: str, augmented: Sequence[NDArray[np.uint8]] = ()
) -> Figure:
    """Draw images of each class in a row, and beside them the same images augmented.

    Args:
        rows: For each class its images (n, C, H, W).
        classes: The class names.
        title: The title of the figure.
        augmented: The same images augmented; empty to leave them out.
    """
    columns = max(len(row) for row in rows)
    sides = [side for side in (rows, augmented) if len(side)]
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(
            0.75 * columns * len(sides) + 1.6, 0.75 * len(rows) + 0.7, nrows=1, ncols=len(sides), squeeze=False
        )
        for index, side in enumerate(sides):
            _, channels, height, width = side[0].shape
            padded = np.full((len(side), columns, channels, height, width), 255, dtype=np.uint8)
            for row, images in enumerate(side):
                padded[row, : len(images)] = images
            axes = grid[0, index]
            draw_image(axes, tile_images(padded.reshape(-1, channels, height, width), columns))
            if index == 0:
                middles = [row * (height + 2) + height / 2 for row in range(len(side))]
                axes.set_yticks(middles, [shorten(name, 22) for name in classes])
                axes.tick_params(length=0)
            if len(sides) > 1:
                axes.set_title(("as stored", "as training sees them")[index], fontsize=10, weight="normal")
        set_title(figure, title)
        return figure


def channel_values(image: NDArray[np.uint8], normalized: NDArray[np.floating[Any]], title: str) -> Figure:
    """Draw each channel of an image (C, H, W), before and after normalization, with the values of a small one."""
    number, height, width = image.shape
    names = ("red", "green", "blue") if number == 3 else ("grey",)
    with_values = max(height, width) <= MAX_SIDE_WITH_VALUES
    size = max(3.4, 0.42 * width if with_values else 0)
    limit = float(np.abs(normalized).max()) or 1.0
    looks: tuple[dict[str, Any], ...] = (
        {"cmap": "gray", "vmin": 0, "vmax": 255},
        {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit},
    )
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(size * number, 2 * size * height / width + 0.9, nrows=2, ncols=number, squeeze=False)
        for column in range(number):
            for row, values in enumerate((image[column], normalized[column])):
                axes = grid[row, column]
                axes.imshow(values, **looks[row])
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_title(f"{names[column]}, {('0 to 255', 'normalized')[row]}", fontsize=10, weight="normal")
                if with_values:
                    write_values(axes, values, is_stored=row == 0)
        set_title(figure, title)
        return figure


def write_values(axes: Axes, values: NDArray[Any], *, is_stored: bool) -> None:
    """Write each value (H, W) into its cell, in a colour that is legible on it."""
    bound = float(np.abs(values).max()) or 1.0
    for (row, column), value in np.ndenumerate(values):
        is_dark = value < 110 if is_stored else abs(value) > 0.6 * bound
        text = f"{int(value)}" if is_stored else f"{value:.1f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color="white" if is_dark else INK)
