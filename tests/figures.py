"""Figures with a single axes, saved as one pixel: drawing takes most of the time of a test's short training."""

import base64
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

DRAWN: dict[str, Any] = {name: getattr(Figure, name) for name in ("savefig", "subplots")}
"""The methods of Figure that draw."""

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==")
"""A PNG of one white pixel."""


def save_one_pixel(figure: Figure, to: Path | IO[bytes], **_: object) -> None:
    """Write PIXEL in place of the figure."""
    if isinstance(to, Path):
        to.write_bytes(PIXEL)
    else:
        to.write(PIXEL)


def share_axes(
    figure: Figure, nrows: int = 1, ncols: int = 1, *, squeeze: bool = True, **_: object
) -> NDArray[np.object_] | object:
    """Return a grid in which every cell is the same axes."""
    grid = np.full((nrows, ncols), figure.add_subplot(), dtype=object)
    if not squeeze:
        return grid
    return grid.item() if grid.size == 1 else grid.squeeze()


UNDRAWN: dict[str, Any] = {"savefig": save_one_pixel, "subplots": share_axes}
"""What takes their place in tests that look at no figure."""
