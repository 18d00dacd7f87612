"""Figures of predictions on a split: the confusion matrix, metrics by class, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from lenext.reporting.figures.canvas import (
    INK,
    QUIET,
    STYLE,
    TRAIN,
    VALIDATION,
    WITHOUT_GRID,
    WRONG,
    new_figure,
    shorten,
)

MAX_CLASSES_WITH_COUNTS = 30
MAX_CLASSES_WITH_GRID = 50
MAX_TICKS = 50
MAX_BARS = 40  # classes


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: rows are true classes, columns predicted ones, colours the share of the row.

    Args:
        counts: Images (K, K), written into the cells of up to 30 classes.
        classes: The K class names.
        title: The title of the figure.
    """
    number = len(classes)
    names = [shorten(name, 24) for name in classes]
    with mpl.rc_context(WITHOUT_GRID):
        longest = max(map(len, names))
        side = float(np.clip(0.52 * number, 3.2, 16))
        figure, axes = new_figure(side + 1.2 + 0.085 * longest, side + 0.9 + 0.085 * longest)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        if number <= MAX_CLASSES_WITH_COUNTS:
            write_counts(axes, counts, shares)
        ticks = range(0, number, max(1, -(-number // MAX_TICKS)))
        rotation = 0 if longest <= 2 else 45
        alignment = "center" if rotation == 0 else "right"
        labels = [names[tick] for tick in ticks]
        axes.set_xticks(ticks, labels, rotation=rotation, ha=alignment, rotation_mode="anchor")
        axes.set_yticks(ticks, labels)
        axes.tick_params(length=0, labelsize=float(np.clip(300 / number, 5, 10)))
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, number), minor=True)
        axes.set_yticks(np.arange(-0.5, number), minor=True)
        if number <= MAX_CLASSES_WITH_GRID:
            axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, pad=12)
        return figure


def write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.floating[Any]]) -> None:
    """Write each count above 0 into its cell, in a colour that is legible on it."""
    size = float(np.clip(130 / len(counts), 5, 10))
    for row, column in np.argwhere(counts > 0):
        is_correct = row == column
        color = "white" if shares[row, column] > 0.55 else (INK if is_correct else WRONG)
        weight = "normal" if is_correct else "bold"
        text = f"{counts[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color, weight=weight)


def class_bars(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw precision, recall and F1 of each class, the worst F1 on top; of many classes the 40 worst.

    Args:
        rows: For each class its `class`, `precision`, `recall` and `f1`.
        title: The title of the figure.
    """
    rows = sorted(rows, key=lambda row: -float(row["f1"]))[-MAX_BARS:]
    with mpl.rc_context(STYLE):
        height = 0.32 * len(rows) + 1.4
        figure, axes = new_figure(7.5, height)
        places = np.arange(len(rows))
        axes.barh(places, [row["f1"] for row in rows], color=QUIET, height=0.7, label="F1")
        axes.plot([row["precision"] for row in rows], places, "o", color=VALIDATION, markersize=5, label="precision")
        axes.plot([row["recall"] for row in rows], places, "D", color=WRONG, markersize=4.5, label="recall")
        axes.set_yticks(places, [shorten(str(row["class"]), 24) for row in rows])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.02)
        axes.set_title(title)
        axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, -0.02 - 0.6 / height), fontsize=9)
        return figure


def reliability_diagram(bins: Sequence[tuple[float, float, int]], error: float, title: str) -> Figure:
    """Draw accuracy by predicted probability, with the calibration error (Guo et al., arXiv:1706.04599).

    Args:
        bins: For each tenth of probability its mean probability, its accuracy and its number of predictions.
        error: The expected calibration error.
        title: The title of the figure.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(5, 5)
        largest = max((count for _, _, count in bins), default=1)
        for mean, accuracy, count in bins:
            left = min(9, int(mean * 10)) / 10
            strength = 0.3 + 0.7 * float(np.sqrt(count / largest))
            axes.bar(left + 0.05, accuracy, 0.092, color=VALIDATION, alpha=strength)
        axes.plot([0, 1], [0, 1], "--", color=TRAIN, label="calibrated")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("accuracy")
        axes.set_title(f"{title}\nexpected calibration error {error:.1%}")
        axes.legend(loc="upper left")
        return figure
