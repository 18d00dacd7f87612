"""Images of a run: each a function from data to a matplotlib Figure, without a window or global state."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from lenext.foundation.files import atomic
from lenext.inspection.arithmetic import Arithmetic
from lenext.training.rates import RateSearch
from lenext.training.schedule import Curve
from lenext.training.state import Record

TRAIN, VALIDATION, QUIET, INK = "#8a94a6", "#0b6e99", "#d5d9e0", "#1f2430"
WRONG = "#b3261e"
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


def save_figure(figure: Figure, path: Path) -> None:
    """As a PNG, whole or not at all."""
    with atomic(path) as temporary:
        write_png(figure, temporary)


def write_png(figure: Figure, to: Path | IO[bytes], dots: int = 144) -> None:
    """As a PNG of so many dots an inch, into a file."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that the font lacks is drawn as boxes
        FigureCanvasAgg(figure)
        figure.savefig(to, format="png", dpi=dots)


def styled(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """A figure of that many inches and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def curves(records: Sequence[Record], title: str, best_epoch: int | None, rates: Curve) -> Figure:
    """Loss and accuracy by epoch, training and validation in one image, and under them the learning rate, as
    `learning_rate_curve` gives it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        axes = figure.subplot_mosaic([["loss", "accuracy"], ["rate", "rate"]], height_ratios=[5, 1])
        loss, accuracy, rate = axes["loss"], axes["accuracy"], axes["rate"]
        epochs = [record.epoch for record in records]
        for one, training, validation, again in (
            (loss, "train_loss", "val_loss", "evaluated_train_loss"),
            (accuracy, "train_accuracy", "val_accuracy", "evaluated_train_accuracy"),
        ):
            draw_line(one, records, training, "training (running mean)", color=TRAIN, linewidth=1.6)
            draw_line(one, records, again, "training (measured again)", color=TRAIN, linestyle=":")
            draw_line(one, records, validation, "validation", color=VALIDATION, linewidth=2.2)
        loss.set_title("Loss (cross-entropy)")
        loss.set_ylim(bottom=0)
        accuracy.set_title("Accuracy")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
        chosen = next((record for record in records if record.epoch == best_epoch), None)
        if chosen is not None and chosen.val_accuracy is not None:
            words = f"best: {chosen.val_accuracy:.2%} (epoch {chosen.epoch})"
            accuracy.plot([chosen.epoch], [chosen.val_accuracy], "o", color=VALIDATION, label=words, zorder=5)
        accuracy.legend(loc="lower right")
        rate.plot(*rates, color=INK, linewidth=1.2, marker="o" if len(rates[0]) == 1 else None, markersize=3)
        rate.set_ylabel("learning\nrate", fontsize=9)
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_locator(MaxNLocator(nbins=2))
        rate.set_xlabel("epoch")
        for one in (loss, accuracy, rate):
            one.set_xlim(0.5, max(epochs, default=1) + 0.5)
            one.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        rate.set_xlim(0, max(epochs, default=1) + 0.5)  # an epoch's figures lie at its end, its rates before that
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def draw_line(axes: Axes, records: Sequence[Record], name: str, label: str, **look: Any) -> None:
    """One figure of the records by epoch, where it was measured; a single epoch is a dot."""
    points = [(record.epoch, getattr(record, name)) for record in records if getattr(record, name) is not None]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, marker="o" if len(points) == 1 else None, label=label, **look)


def learning_rates(found: RateSearch, title: str) -> Figure:
    """The smoothed loss by the learning rate, with the rate that is suggested."""
    with mpl.rc_context(STYLE):
        figure, axes = styled(7.5, 4.2)
        axes.plot(found.rates, found.losses, color=VALIDATION, linewidth=2)
        loss = found.losses[found.rates.index(found.suggestion)]
        words = f"suggested: {found.suggestion:.2g}"
        axes.plot([found.suggestion], [loss], "o", color=WRONG, label=words, zorder=5)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # a power would be written as mathematics
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        axes.set_title(title)
        axes.legend(loc="lower left")
        return figure


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Rows the true class, columns the answer; colour is the share of the row, the numbers are images."""
    number = len(classes)
    classes = [short(name, 24) for name in classes]
    with mpl.rc_context(WITHOUT_GRID):
        longest = max(map(len, classes))
        side = float(np.clip(0.52 * number, 3.2, 16))
        figure, axes = styled(side + 1.2 + 0.085 * longest, side + 0.9 + 0.085 * longest)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        if number <= 30:
            size = float(np.clip(130 / number, 5, 10))
            for row, column in np.argwhere(counts > 0):
                right = row == column
                ink = "white" if share[row, column] > 0.55 else (INK if right else WRONG)
                weight = "bold" if not right else "normal"
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]}",
                    ha="center",
                    va="center",
                    fontsize=size,
                    color=ink,
                    weight=weight,
                )
        step = max(1, -(-number // 50))
        places = range(0, number, step)
        rotation = 0 if longest <= 2 else 45
        names = [classes[place] for place in places]
        axes.set_xticks(
            places, names, rotation=rotation, ha="center" if rotation == 0 else "right", rotation_mode="anchor"
        )
        axes.set_yticks(places, names)
        axes.tick_params(length=0, labelsize=float(np.clip(300 / number, 5, 10)))
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, number), minor=True)
        axes.set_yticks(np.arange(-0.5, number), minor=True)
        if number <= 50:
            axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, pad=12)
        return figure


def gallery(
    images: NDArray[np.uint8], captions: Sequence[str], title: str, columns: int = 8, colors: Sequence[str] = ()
) -> Figure:
    """A grid of images (N, C, H, W) with a caption (one or two lines) under each."""
    number = len(images)
    columns = min(columns, max(number, 5))
    rows = max(1, -(-number // columns))
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(1.45 * columns, 1.85 * rows + 0.35, nrows=rows, ncols=columns, squeeze=False)
        for place, one in enumerate(axes.flat):
            one.axis("off")
            if place >= number:
                continue
            image = images[place].transpose(1, 2, 0)
            one.imshow(image.squeeze(-1) if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
            color = colors[place] if colors else INK
            one.text(
                0.5, -0.06, captions[place], ha="center", va="top", fontsize=9, color=color, transform=one.transAxes
            )
        if number == 0:
            axes[0, 0].text(0, 0.5, "none", fontsize=11, transform=axes[0, 0].transAxes)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
        return figure


def steps(arithmetic: Arithmetic, most: int = 6) -> Figure:
    """What a kernel touches, step by step along a row: the input with its padding above, the output below."""
    shown = list(range(min(most, arithmetic.output)))
    whole = arithmetic.size + 2 * arithmetic.padding
    with mpl.rc_context(WITHOUT_GRID):
        figure, axes = styled(
            2.1 * len(shown) + 0.4, 3.9, nrows=2, ncols=len(shown), squeeze=False, height_ratios=[3, 2]
        )
        for column, place in enumerate(shown):
            touched = [pixel + arithmetic.padding for pixel in arithmetic.covered_pixels(place)]
            rows = [pixel + arithmetic.padding for pixel in arithmetic.covered_pixels(0)]
            cells = np.full((whole, whole, 3), 0.93)
            inner = slice(arithmetic.padding, arithmetic.padding + arithmetic.size)
            cells[inner, inner] = mpl.colors.to_rgb("#bcd7ec")
            for row in rows:
                for pixel in touched:
                    inside = inner.start <= row < inner.stop and inner.start <= pixel < inner.stop
                    cells[row, pixel] = mpl.colors.to_rgb(VALIDATION if inside else TRAIN)
            squares(axes[0, column], cells, f"step {place + 1}")
            out = np.full((arithmetic.output, arithmetic.output, 3), 0.93)
            out[0, place] = mpl.colors.to_rgb("#2f7d5f")
            squares(axes[1, column], out, "")
        a = arithmetic
        words = f"kernel {a.kernel}, stride {a.stride}, padding {a.padding}, dilation {a.dilation}"
        figure.suptitle(f"{a.size} to {a.output}: {words}", x=0.01, ha="left", fontsize=13, weight="bold")
        axes[0, 0].set_ylabel("input, padding grey")
        axes[1, 0].set_ylabel("output")
        return figure


def squares(axes: Axes, cells: NDArray[np.float64], title: str) -> None:
    """A grid of coloured squares (rows, columns, 3)."""
    axes.pcolormesh(cells, edgecolors="white", linewidth=1.2)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10, weight="normal")


def short(name: str, most: int) -> str:
    """A name of at most so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"
