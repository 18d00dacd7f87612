"""Images of what is in data and in networks: each a function from arrays to a matplotlib Figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from lenext.reporting.figures import INK, QUIET, STYLE, TRAIN, VALIDATION, WITHOUT_GRID, WRONG, short, styled
from lenext.training.state import Record

HAND_MADE: Mapping[str, Sequence[Sequence[float]]] = {
    "vertical edges": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "horizontal edges": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "all edges": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "blur": ((1 / 9,) * 3,) * 3,
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
}
"""Kernels of 3 x 3 as they are taught: Sobel's two, the Laplacian, a mean, and the image less its Laplacian."""
LINES = (VALIDATION, WRONG, "#2f7d5f", "#6a4fa0", "#b5651d", "#3a3f4b", "#c2a83e", "#8a94a6")
MOST_VALUES = 16  # px a side up to which the values are written in


def tiled(images: NDArray[Any], columns: int, gap: int = 2, blank: float = 255) -> NDArray[Any]:
    """Images (N, C, H, W) in one (rows, columns, C), row by row, with a gap between."""
    number, channels, height, width = images.shape
    rows = -(-number // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), blank, dtype=images.dtype)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def draw_image(axes: Axes, image: NDArray[Any], **more: Any) -> None:
    """An image (H, W, C) of 0 to 255, without axes."""
    axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255, **more)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def class_grid(
    rows: Sequence[NDArray[np.uint8]], classes: Sequence[str], title: str, after: Sequence[NDArray[np.uint8]] = ()
) -> Figure:
    """Images of each class in a row, (n, C, H, W) a class; with `after`, the same ones augmented beside them."""
    columns = max(len(row) for row in rows)
    sheets = [side for side in (rows, after) if len(side)]
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(
            0.75 * columns * len(sheets) + 1.6, 0.75 * len(rows) + 0.7, nrows=1, ncols=len(sheets), squeeze=False
        )
        for place, side in enumerate(sheets):
            _, channels, height, width = side[0].shape
            full = np.full((len(side), columns, channels, height, width), 255, dtype=np.uint8)
            for at, some in enumerate(side):
                full[at, : len(some)] = some
            one = axes[0, place]
            draw_image(one, tiled(full.reshape(-1, channels, height, width), columns))
            if place == 0:
                one.set_yticks(
                    [at * (height + 2) + height / 2 for at in range(len(side))], [short(n, 22) for n in classes]
                )
                one.tick_params(length=0)
            if len(sheets) > 1:
                one.set_title(("as stored", "as training sees them")[place], fontsize=10, weight="normal")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def channels(image: NDArray[np.uint8], normalized: NDArray[np.floating[Any]], title: str) -> Figure:
    """Each channel of an image (C, H, W), before and after normalization; of a small one with its values."""
    number, height, width = image.shape
    names = ("red", "green", "blue") if number == 3 else ("grey",)
    written = max(height, width) <= MOST_VALUES
    size = max(3.4, 0.42 * width if written else 0)
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(size * number, 2 * size * height / width + 0.9, nrows=2, ncols=number, squeeze=False)
        limit = float(np.abs(normalized).max()) or 1.0
        for column in range(number):
            for row, (values, look) in enumerate(
                ((image[column], {"cmap": "gray", "vmin": 0, "vmax": 255}),
                 (normalized[column], {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}))
            ):  # fmt: skip
                one = axes[row, column]
                one.imshow(values, **look)
                one.set_xticks([])
                one.set_yticks([])
                one.set_title(f"{names[column]}, {('0 to 255', 'normalized')[row]}", fontsize=10, weight="normal")
                if written:
                    write_values(one, values, dark=row == 0)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def write_values(axes: Axes, values: NDArray[Any], *, dark: bool) -> None:
    """The numbers in their cells, in ink that can be read on them."""
    bound = float(np.abs(values).max()) or 1.0
    for (row, column), value in np.ndenumerate(values):
        light = value < 110 if dark else abs(value) > 0.6 * bound
        said = f"{int(value)}" if dark else f"{value:.1f}"
        axes.text(column, row, said, ha="center", va="center", fontsize=6.5, color="white" if light else INK)


def convolved(grey: NDArray[np.floating[Any]], kernel: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Cross-correlation of an image (H, W) with a kernel, at the same size, edges repeated."""
    tall, wide = kernel.shape
    framed = np.pad(grey, ((tall // 2, (tall - 1) // 2), (wide // 2, (wide - 1) // 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(framed, kernel.shape)
    return np.asarray(np.einsum("hwij,ij->hw", windows, kernel))


def filters(grey: NDArray[np.floating[Any]], learned: NDArray[np.floating[Any]], title: str) -> Figure:
    """A grey image (H, W) through the hand-made kernels, and through learned ones (N, h, w) below."""
    kernels = [(name, np.array(one)) for name, one in HAND_MADE.items()]
    columns = len(kernels)
    rows = 1 + (-(-min(len(learned), 2 * columns) // columns) if len(learned) else 0)
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(1.9 * (columns + 1), 2.15 * rows + 0.4, nrows=rows, ncols=columns + 1, squeeze=False)
        for one in axes.flat:
            one.axis("off")
        axes[0, 0].axis("on")
        draw_image(axes[0, 0], grey[..., None])
        axes[0, 0].set_title("image", fontsize=9, weight="normal")
        shown = [(name, kernel) for name, kernel in kernels]
        shown += [(f"learned {at + 1}", kernel) for at, kernel in enumerate(learned[: 2 * columns])]
        for place, (name, kernel) in enumerate(shown):
            one = axes[place // columns, 1 + place % columns]
            answer = convolved(grey, kernel)
            bound = float(np.abs(answer - (answer.mean() if kernel.sum() > 0.5 else 0)).max()) or 1.0
            look = {"vmin": 0, "vmax": 255} if name in ("blur", "sharpen") else {"vmin": -bound, "vmax": bound}
            one.imshow(answer, cmap="gray", **look)
            one.set_title(name, fontsize=9, weight="normal")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def kernels(weights: NDArray[np.floating[Any]], title: str, most: int = 96) -> Figure:
    """The filters (N, C, h, w) of a first layer: in colour where they take three channels, else their first channel."""
    weights = weights[:most]
    low, high = weights.min((1, 2, 3), keepdims=True), weights.max((1, 2, 3), keepdims=True)
    images = np.asarray(255 * (weights - low) / np.maximum(high - low, 1e-12), dtype=np.uint8)
    images = images if images.shape[1] == 3 else images[:, :1]
    columns = int(np.ceil(np.sqrt(len(images) * 1.6)))
    sheet = tiled(images, columns, gap=1)
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(8, 8 * sheet.shape[0] / sheet.shape[1] + 0.6)
        draw_image(axes, sheet, interpolation="nearest")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def feature_maps(image: NDArray[np.uint8], maps: NDArray[np.floating[Any]], title: str, most: int = 31) -> Figure:
    """An image (C, H, W) and what the channels of a layer, (channels, h, w), make of it; each by its own range."""
    maps = maps[:most]
    columns = 8
    rows = -(-(len(maps) + 1) // columns)
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(1.3 * columns, 1.45 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
        for one in axes.flat:
            one.axis("off")
        draw_image(axes.flat[0], image.transpose(1, 2, 0))
        axes.flat[0].set_title("image", fontsize=8, weight="normal")
        for at, values in enumerate(maps):
            one = axes.flat[at + 1]
            one.imshow(values, cmap="viridis")
            one.set_title(f"{at + 1}", fontsize=8, weight="normal", color=TRAIN)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def explained(rows: Sequence[tuple[str, Mapping[str, NDArray[np.uint8]]]], title: str) -> Figure:
    """For each image its overlays (H, W, 3), side by side, with what was answered."""
    names = list(rows[0][1])
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(
            2.3 * len(names), 2.55 * len(rows) + 0.4, nrows=len(rows), ncols=len(names), squeeze=False
        )
        for row, (caption, images) in enumerate(rows):
            for column, name in enumerate(names):
                draw_image(axes[row, column], images[name])
                axes[row, column].set_title(name if column else caption, fontsize=9, weight="normal")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def class_bars(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Precision, recall and F1 of each class, the worst F1 on top."""
    rows = sorted(rows, key=lambda row: -float(row["f1"]))[-40:]
    with mpl.rc_context(STYLE):
        figure, axes = styled(7.5, 0.32 * len(rows) + 1.4)
        places = np.arange(len(rows))
        axes.barh(places, [row["f1"] for row in rows], color=QUIET, height=0.7, label="F1")
        axes.plot([row["precision"] for row in rows], places, "o", color=VALIDATION, markersize=5, label="precision")
        axes.plot([row["recall"] for row in rows], places, "D", color=WRONG, markersize=4.5, label="recall")
        axes.set_yticks(places, [short(str(row["class"]), 24) for row in rows])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1.02)
        axes.set_title(title)
        axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, -0.02 - 0.6 / (0.32 * len(rows) + 1.4)), fontsize=9)
        return figure


def reliability(rows: Sequence[tuple[float, float, int]], error: float, title: str) -> Figure:
    """Accuracy by the probability of the answer (mean probability, accuracy, answers), with the calibration error."""
    with mpl.rc_context(STYLE):
        figure, axes = styled(5, 5)
        most = max((count for _, _, count in rows), default=1)
        for mean, accuracy, count in rows:
            left = min(9, int(mean * 10)) / 10
            axes.bar(left + 0.05, accuracy, 0.092, color=VALIDATION, alpha=0.3 + 0.7 * float(np.sqrt(count / most)))
        axes.plot([0, 1], [0, 1], "--", color=TRAIN, label="as sure as right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("probability of the answer")
        axes.set_ylabel("share that was right")
        axes.set_title(f"{title}\nexpected calibration error {error:.1%}")
        axes.legend(loc="upper left")
        return figure


def embedding(
    points: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: Sequence[str], title: str
) -> Figure:
    """Images as points (N, 2), coloured by class; a class is named at the median of its points."""
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(8, 7)
        colours = mpl.colormaps["tab10" if len(classes) <= 10 else "gist_rainbow"]
        for label, name in enumerate(classes):
            some = points[labels == label]
            if not len(some):
                continue
            colour = colours(label if len(classes) <= 10 else label / len(classes))
            axes.scatter(
                some[:, 0], some[:, 1], s=min(36, max(6, 16_000 / len(points))), color=colour, alpha=0.55, linewidths=0
            )
            if len(classes) <= 30:
                x, y = np.median(some, axis=0)
                box = {"facecolor": "white", "edgecolor": colour, "boxstyle": "round,pad=0.25", "alpha": 0.9}
                axes.text(x, y, short(name, 16), ha="center", va="center", fontsize=9, bbox=box)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title)
        return figure


def receptive_fields(image: NDArray[np.uint8], fields: Mapping[str, tuple[int, int]], title: str) -> Figure:
    """An image (C, H, W) with what the value in the middle of each layer sees of it: (field, stride) in pixels."""
    _, height, width = image.shape
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(7.5, 6)
        draw_image(axes, image.transpose(1, 2, 0), alpha=0.75)
        for place, (name, (field, _)) in enumerate(fields.items()):
            colour = LINES[place % len(LINES)]
            corner = (width - 1 - field) / 2 + 0.5 - 0.5, (height - 1 - field) / 2 + 0.5 - 0.5
            axes.add_patch(
                Rectangle(corner, field, field, fill=False, edgecolor=colour, linewidth=2, label=f"{name}: {field} px")
            )
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        axes.set_title(title)
        return figure


def many_curves(runs: Mapping[str, Sequence[Record]], title: str) -> Figure:
    """Validation loss and accuracy of several runs over each other, their training thin and dotted."""
    with mpl.rc_context(STYLE):
        figure, (loss, accuracy) = styled(10.5, 4.6, ncols=2)
        for place, (name, records) in enumerate(runs.items()):
            colour, epochs = LINES[place % len(LINES)], [one.epoch for one in records]
            for axes, held, seen in ((loss, "val_loss", "train_loss"), (accuracy, "val_accuracy", "train_accuracy")):
                values = [getattr(one, held) for one in records]
                axes.plot(epochs, [getattr(one, seen) for one in records], ":", color=colour, linewidth=1.2)
                if all(value is not None for value in values):
                    axes.plot(epochs, values, color=colour, linewidth=2, label=short(name, 40))
                else:
                    axes.lines[-1].set_label(short(name, 40))
        loss.set_title("Loss (dotted: training)")
        loss.set_ylim(bottom=0)
        accuracy.set_title("Accuracy (dotted: training)")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        accuracy.legend(loc="lower right")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure
