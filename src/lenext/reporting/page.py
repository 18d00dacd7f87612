"""Pages: HTML with everything in one file, which needs no network, prints, and has a light and a dark theme."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from lenext.foundation.notebook import data_url
from lenext.reporting.figures.canvas import write_png
from lenext.reporting.redaction import redact_paths
from lenext.reporting.svg import Chart, Line, reliability_chart, share_bar
from lenext.runs.saved_predictions import SavedPredictions
from lenext.training.metrics import Record
from lenext.training.schedule import Curve

MAX_PIXELATED_SIDE = 64  # pixels; smaller images are enlarged in squares
MAX_IMAGE_SIDE = 128  # pixels of an image in a page
FIGURE_DPI = 110
MAX_MATRIX_CLASSES = 30  # with more, the confusion matrix is an image instead of a table
RATE_CHART_WIDTH, RATE_CHART_HEIGHT = 934, 120  # pixels


@dataclass
class GalleryItem:
    """An image in a page.

    Attributes:
        src: The image as a data URL.
        caption: The text below it.
        detail: A second line below it.
        is_correct: Whether the caption is a correct prediction.
    """

    src: str
    caption: str
    detail: str = ""
    is_correct: bool = True


@dataclass
class Gallery:
    """Images in a page under a name, with a sentence about them."""

    name: str
    about: str
    images: list[GalleryItem] = field(default_factory=list)


@dataclass(frozen=True)
class PageFigure:
    """A figure in a page under a name, with a sentence about it; `src` is a data URL."""

    name: str
    about: str
    src: str


def page_figure(name: str, about: str, figure: Figure) -> PageFigure:
    """Return a figure as PNG for a page."""
    content = io.BytesIO()
    write_png(figure, content, FIGURE_DPI)
    return PageFigure(name, about, data_url(content.getvalue(), "png"))


def image_url(pixels: NDArray[np.uint8], max_side: int = MAX_IMAGE_SIDE) -> str:
    """Return an image (C, H, W) or (H, W, 3) as a data URL: a small one as PNG, a photo as JPEG."""
    array = pixels.transpose(1, 2, 0) if pixels.shape[0] in (1, 3) else pixels
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    is_small = max(image.size) <= MAX_PIXELATED_SIDE
    image.thumbnail((max_side, max_side))
    content = io.BytesIO()
    if is_small:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "JPEG", quality=82)
    return data_url(content.getvalue(), "png" if is_small else "jpeg")


def training_charts(records: Sequence[Record], best_epoch: int | None, rates: Curve) -> list[Chart]:
    """Return the charts of loss, accuracy and learning rate by epoch.

    Args:
        records: One per epoch.
        best_epoch: The epoch whose weights were chosen; it is marked.
        rates: The learning rate by epoch, as `learning_rate_curve` returns it.
    """
    epochs = [float(record.epoch) for record in records]

    def metric_lines(metric: str) -> list[Line]:
        columns = (
            ("training", f"train_{metric}", "a"),
            ("training, measured again", f"evaluated_train_{metric}", "a thin"),
            ("validation", f"val_{metric}", "b"),
        )
        lines = [Line(name, epochs, [getattr(each, key) for each in records], css) for name, key, css in columns]
        return [line for line in lines if any(value is not None for value in line.y)]

    best = next((each for each in records if each.epoch == best_epoch and each.val_accuracy is not None), None)
    marks = [(float(best.epoch), float(best.val_accuracy or 0), f"best: {best.val_accuracy:.2%}")] if best else []
    return [
        Chart("Loss (cross-entropy)", metric_lines("loss"), from_zero=True),
        Chart("Accuracy", metric_lines("accuracy"), percent=True, marks=marks),
        Chart(
            "Learning rate",
            [Line("learning rate", *rates, "c")],
            from_zero=True,
            width=RATE_CHART_WIDTH,
            height=RATE_CHART_HEIGHT,
        ),
    ]


def confusion_cells(answers: SavedPredictions) -> list[list[dict[str, Any]]]:
    """Return the confusion matrix as rows of cells: count, share of the row, whether on the diagonal."""
    counts = answers.confusion()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    number = len(counts)
    return [
        [{"count": int(counts[a, b]), "share": float(shares[a, b]), "is_correct": a == b} for b in range(number)]
        for a in range(number)
    ]


class Verbatim(Markup):
    """A part of a page that is no text: scripts, styles, and packed arrays, in which nothing may be redacted."""


@cache
def template_environment(package: str = "lenext.reporting", folder: str = "templates") -> jinja2.Environment:
    """Return the environment of a package's templates: it escapes every value, and removes the machine's paths."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=lambda name: not str(name).endswith(".md"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: (
            redact_paths(value) if isinstance(value, str) and not isinstance(value, Verbatim) else value
        ),
    )
    environment.filters |= {"percent": lambda value: f"{value:.1%}", "thousands": lambda value: f"{value:,}"}
    environment.globals |= {
        "bar": lambda share, css_class: Markup(share_bar(share, css_class)),
        "chart": lambda chart: Markup(chart.draw()),
        "reliability_chart": lambda bins: Markup(reliability_chart(bins)),
    }
    return environment


def render(template: str, **content: Any) -> str:
    """Render a template of reporting/templates with its values."""
    return template_environment().get_template(template).render(**content)
