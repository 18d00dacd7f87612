"""The style, the layout and the output file that all figures share."""

import warnings
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenext.foundation.files import atomic

TRAIN, VALIDATION, QUIET, INK = "#8a94a6", "#0b6e99", "#d5d9e0", "#1f2430"
WRONG, GREEN = "#b3261e", "#2f7d5f"
LINE_COLORS = (VALIDATION, WRONG, GREEN, "#6a4fa0", "#b5651d", "#3a3f4b", "#c2a83e", TRAIN)
STYLE: Any = {  # matplotlib types its settings by a literal of all their names
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $x$
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#eceef2",
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "legend.frameon": False,
}
WITHOUT_GRID: Any = STYLE | {"axes.grid": False}
FILE_DPI = 144


def new_figure(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """Return a figure of `width` x `height` inches and its axes; `grid` goes to `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def set_title(figure: Figure, title: str) -> None:
    """Write a title above all axes, at the left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as PDF by its suffix, whole or not at all."""
    with atomic(path) as temporary:
        if path.suffix.lower() == ".pdf":
            with mpl.rc_context(STYLE):
                FigureCanvasPdf(figure)
                figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
        else:
            write_png(figure, temporary)


def write_png(figure: Figure, target: Path | IO[bytes], dpi: int = FILE_DPI) -> None:
    """Write a figure as PNG with `dpi` dots per inch."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that the font lacks is drawn as boxes
        FigureCanvasAgg(figure)
        figure.savefig(target, format="png", dpi=dpi)


def shorten(name: str, max_characters: int) -> str:
    """Return a name of at most `max_characters`, cut with an ellipsis."""
    return name if len(name) <= max_characters else name[: max_characters - 1] + "…"


def hide_axes(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_image(axes: Axes, image: NDArray[Any], *, alpha: float = 1.0, interpolation: str | None = None) -> None:
    """Draw an image (H, W, C) with values from 0 to 255, without ticks and frame."""
    pixels = image.squeeze(-1) if image.shape[-1] == 1 else image
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, alpha=alpha, interpolation=interpolation)
    hide_axes(axes)


def tile_images(images: NDArray[Any], columns: int, gap: int = 2, blank: float = 255) -> NDArray[Any]:
    """Place images (N, C, H, W) row by row on one sheet (rows, columns, C), `gap` pixels apart."""
    number, channels, height, width = images.shape
    rows = -(-number // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), blank, dtype=images.dtype)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet
