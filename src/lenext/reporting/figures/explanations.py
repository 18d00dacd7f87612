"""Figures that explain predictions: heat maps on images, and receptive fields."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lenext.reporting.figures.canvas import LINE_COLORS, WITHOUT_GRID, draw_image, new_figure, set_title


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Lay a heat map (H, W) of 0 to 1 in colour over an image (C, H, W) in grey; returns (H, W, 3)."""
    grey = image.astype(np.float64).mean(0)[..., None] / 255
    if heat.shape != grey.shape[:2]:
        rows = np.arange(grey.shape[0]) * heat.shape[0] // grey.shape[0]
        columns = np.arange(grey.shape[1]) * heat.shape[1] // grey.shape[1]
        heat = heat[rows][:, columns]
    colors = mpl.colormaps["inferno"](np.clip(heat, 0, 1))[..., :3]
    strength = 0.25 + 0.6 * np.clip(heat, 0, 1)[..., None]
    return np.asarray(np.rint(255 * ((1 - strength) * grey + strength * colors)), dtype=np.uint8)


def explanation_grid(rows: Sequence[tuple[str, Mapping[str, NDArray[np.uint8]]]], title: str) -> Figure:
    """Draw explained images, one per row.

    Args:
        rows: For each image its caption, and by name the image and its heat maps, (H, W, 3) each.
        title: The title of the figure.
    """
    names = list(rows[0][1])
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(
            2.3 * len(names), 2.55 * len(rows) + 0.4, nrows=len(rows), ncols=len(names), squeeze=False
        )
        for row, (caption, images) in enumerate(rows):
            for column, name in enumerate(names):
                draw_image(grid[row, column], images[name])
                grid[row, column].set_title(name if column else caption, fontsize=9, weight="normal")
        set_title(figure, title)
        return figure


def receptive_fields(image: NDArray[np.uint8], fields: Mapping[str, int], title: str) -> Figure:
    """Draw an image (C, H, W) and, for the middle output of each layer, the square of the image that it depends on.

    Args:
        image: Pixel values from 0 to 255, in the size of the network's input.
        fields: The receptive field of each layer, pixels a side.
        title: The title of the figure.
    """
    _, height, width = image.shape
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = new_figure(7.5, 6)
        draw_image(axes, image.transpose(1, 2, 0), alpha=0.75)
        for index, (name, field) in enumerate(fields.items()):
            color = LINE_COLORS[index % len(LINE_COLORS)]
            corner = (width - 1 - field) / 2, (height - 1 - field) / 2
            label = f"{name}: {field} px"
            axes.add_patch(Rectangle(corner, field, field, fill=False, edgecolor=color, linewidth=2, label=label))
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        axes.set_title(title)
        return figure
