"""Figures of convolution arithmetic: which pixels each step of a kernel covers."""

import matplotlib as mpl
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenext.inspection.arithmetic import Arithmetic
from lenext.reporting.figures.canvas import GREEN, TRAIN, VALIDATION, WITHOUT_GRID, hide_axes, new_figure, set_title

MAX_STEPS = 6
PIXEL, PADDING_GREY = "#bcd7ec", 0.93


def kernel_steps(arithmetic: Arithmetic, max_steps: int = MAX_STEPS) -> Figure:
    """Draw the first steps of a kernel along a row: the padded input above, the output below."""
    steps = min(max_steps, arithmetic.output)
    padding, padded_size = arithmetic.padding, arithmetic.size + 2 * arithmetic.padding
    inner = slice(padding, padding + arithmetic.size)
    rows = [pixel + padding for pixel in arithmetic.covered_pixels(0)]
    with mpl.rc_context(WITHOUT_GRID):
        figure, grid = new_figure(2.1 * steps + 0.4, 3.9, nrows=2, ncols=steps, squeeze=False, height_ratios=[3, 2])
        for step in range(steps):
            cells = np.full((padded_size, padded_size, 3), PADDING_GREY)
            cells[inner, inner] = mpl.colors.to_rgb(PIXEL)
            for row in rows:
                for column in (pixel + padding for pixel in arithmetic.covered_pixels(step)):
                    is_pixel = inner.start <= row < inner.stop and inner.start <= column < inner.stop
                    cells[row, column] = mpl.colors.to_rgb(VALIDATION if is_pixel else TRAIN)
            draw_cells(grid[0, step], cells, f"step {step + 1}")
            output = np.full((arithmetic.output, arithmetic.output, 3), PADDING_GREY)
            output[0, step] = mpl.colors.to_rgb(GREEN)
            draw_cells(grid[1, step], output, "")
        a = arithmetic
        options = f"kernel {a.kernel}, stride {a.stride}, padding {a.padding}, dilation {a.dilation}"
        set_title(figure, f"{a.size} to {a.output}: {options}")
        grid[0, 0].set_ylabel("input, padding grey")
        grid[1, 0].set_ylabel("output")
        return figure


def draw_cells(axes: Axes, cells: NDArray[np.float64], title: str) -> None:
    """Draw a grid of coloured cells (rows, columns, 3)."""
    axes.pcolormesh(cells, edgecolors="white", linewidth=1.2)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    hide_axes(axes)
    axes.set_title(title, fontsize=10, weight="normal")
