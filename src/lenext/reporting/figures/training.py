"""Figures of training: metrics and learning rate by epoch, several runs, a search for the learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lenext.reporting.figures.canvas import (
    INK,
    LINE_COLORS,
    STYLE,
    TRAIN,
    VALIDATION,
    WRONG,
    new_figure,
    set_title,
    shorten,
)
from lenext.training.metrics import Record
from lenext.training.rates import RateSearch
from lenext.training.schedule import Curve


def training_curves(records: Sequence[Record], title: str, best_epoch: int | None, rates: Curve) -> Figure:
    """Draw loss and accuracy by epoch, and the learning rate below them.

    Args:
        records: One per epoch.
        title: The title of the figure.
        best_epoch: The epoch whose weights were chosen; its validation accuracy is marked.
        rates: The learning rate by epoch, as `learning_rate_curve` returns it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        mosaic = figure.subplot_mosaic([["loss", "accuracy"], ["rate", "rate"]], height_ratios=[5, 1])
        loss, accuracy, rate = mosaic["loss"], mosaic["accuracy"], mosaic["rate"]
        for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
            draw_metric(axes, records, f"train_{metric}", "training (running mean)", color=TRAIN, linewidth=1.6)
            draw_metric(
                axes, records, f"evaluated_train_{metric}", "training (measured again)", color=TRAIN, linestyle=":"
            )
            draw_metric(axes, records, f"val_{metric}", "validation", color=VALIDATION, linewidth=2.2)
        loss.set_title("Loss (cross-entropy)")
        loss.set_ylim(bottom=0)
        accuracy.set_title("Accuracy")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
        best = next((record for record in records if record.epoch == best_epoch), None)
        if best is not None and best.val_accuracy is not None:
            label = f"best: {best.val_accuracy:.2%} (epoch {best.epoch})"
            accuracy.plot([best.epoch], [best.val_accuracy], "o", color=VALIDATION, label=label, zorder=5)
        accuracy.legend(loc="lower right")
        rate.plot(*rates, color=INK, linewidth=1.2, marker="o" if len(rates[0]) == 1 else None, markersize=3)
        rate.set_ylabel("learning\nrate", fontsize=9)
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_locator(MaxNLocator(nbins=2))
        rate.set_xlabel("epoch")
        last_epoch = max((record.epoch for record in records), default=1)
        for axes in (loss, accuracy, rate):
            axes.set_xlim(0.5, last_epoch + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        rate.set_xlim(0, last_epoch + 0.5)  # metrics are drawn at the end of their epoch, its rates before that
        set_title(figure, title)
        return figure


def draw_metric(axes: Axes, records: Sequence[Record], name: str, label: str, **line_style: Any) -> None:
    """Draw one metric by epoch, where it was measured; a single epoch is a dot."""
    points = [(record.epoch, getattr(record, name)) for record in records if getattr(record, name) is not None]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, marker="o" if len(points) == 1 else None, label=label, **line_style)


def run_curves(runs: Mapping[str, Sequence[Record]], title: str) -> Figure:
    """Draw validation loss and accuracy of several runs over each other, their training metrics thin and dotted.

    Args:
        runs: The records of each run, by its name.
        title: The title of the figure.
    """
    with mpl.rc_context(STYLE):
        figure, (loss, accuracy) = new_figure(10.5, 4.6, ncols=2)
        for index, (name, records) in enumerate(runs.items()):
            color, epochs = LINE_COLORS[index % len(LINE_COLORS)], [record.epoch for record in records]
            for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
                axes.plot(epochs, [getattr(record, f"train_{metric}") for record in records], ":", color=color, lw=1.2)
                values = [getattr(record, f"val_{metric}") for record in records]
                if all(value is not None for value in values):
                    axes.plot(epochs, values, color=color, linewidth=2, label=shorten(name, 40))
                else:
                    axes.lines[-1].set_label(shorten(name, 40))
        loss.set_title("Loss (dotted: training)")
        loss.set_ylim(bottom=0)
        accuracy.set_title("Accuracy (dotted: training)")
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        accuracy.legend(loc="lower right")
        set_title(figure, title)
        return figure


def learning_rate_search(search: RateSearch, title: str) -> Figure:
    """Draw the smoothed loss by the learning rate, and the suggested rate."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.5, 4.2)
        axes.plot(search.rates, search.losses, color=VALIDATION, linewidth=2)
        loss = search.losses[search.rates.index(search.suggestion)]
        label = f"suggested: {search.suggestion:.2g}"
        axes.plot([search.suggestion], [loss], "o", color=WRONG, label=label, zorder=5)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # a power would be written as mathematics
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        axes.set_title(title)
        axes.legend(loc="lower left")
        return figure
