"""Figures of embeddings: images as points in the plane."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenext.reporting.figures.canvas import WITHOUT_GRID, new_figure, shorten

MAX_NAMED_CLASSES = 30


def class_scatter(
    points: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: Sequence[str], title: str
) -> Figure:
    """Draw points (N, 2) coloured by class (N,); each of up to 30 classes is named at the median of its points."""
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = new_figure(8, 7)
        few_classes = len(classes) <= 10
        colormap = mpl.colormaps["tab10" if few_classes else "gist_rainbow"]
        size = min(36, max(6, 16_000 / len(points)))
        for label, name in enumerate(classes):
            members = points[labels == label]
            if not len(members):
                continue
            color = colormap(label if few_classes else label / len(classes))
            axes.scatter(members[:, 0], members[:, 1], s=size, color=color, alpha=0.55, linewidths=0)
            if len(classes) <= MAX_NAMED_CLASSES:
                x, y = np.median(members, axis=0)
                box = {"facecolor": "white", "edgecolor": color, "boxstyle": "round,pad=0.25", "alpha": 0.9}
                axes.text(x, y, shorten(name, 16), ha="center", va="center", fontsize=9, bbox=box)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title)
        return figure
