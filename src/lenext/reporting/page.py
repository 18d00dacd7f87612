"""A run as one page: HTML with all in it, which needs no network, prints, and is right by day and by night."""

import base64
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

from lenext.reporting.figures import write_png
from lenext.reporting.places import without_places
from lenext.reporting.svg import Chart, Line, bar, reliability
from lenext.runs.saved_predictions import SavedPredictions
from lenext.training.schedule import Curve
from lenext.training.state import Record

SHARP = 64  # px a side below which an image is enlarged in squares
LARGEST = 128  # px a side that an image in a page has
DOTS = 110  # an inch of a figure in a page
MOST_CELLS = 30  # classes up to which the confusion matrix is a table


@dataclass
class Shown:
    """An image in a page: as a data address, with what is said under it, and whether that is right."""

    address: str
    caption: str
    below: str = ""
    right: bool = True


@dataclass
class Gallery:
    name: str
    about: str
    images: list[Shown] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    """A figure in a page."""

    name: str
    about: str
    address: str


def drawn(name: str, about: str, figure: Figure) -> Drawn:
    """A figure as a PNG in the page."""
    content = io.BytesIO()
    write_png(figure, content, DOTS)
    return Drawn(name, about, embedded(content.getvalue(), "png"))


def address(pixels: NDArray[np.uint8], largest: int = LARGEST) -> str:
    """An image (C, H, W) or (H, W, 3) as an address that holds it: a small one as PNG, a photograph as JPEG."""
    array = pixels.transpose(1, 2, 0) if pixels.shape[0] in (1, 3) else pixels
    image = Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
    sharp = max(image.size) <= SHARP
    image.thumbnail((largest, largest))
    content = io.BytesIO()
    if sharp:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "JPEG", quality=82)
    return embedded(content.getvalue(), "png" if sharp else "jpeg")


def embedded(content: bytes, kind: str) -> str:
    """An image file as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def curves(records: Sequence[Record], best_epoch: int | None, rates: Curve) -> list[Chart]:
    """Loss and accuracy by epoch, and the learning rate, as `learning_rate_curve` gives it."""
    epochs = [float(one.epoch) for one in records]
    columns: dict[str, list[float | None]] = {
        name: [getattr(one, name) for one in records]
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy",
                     "evaluated_train_loss", "evaluated_train_accuracy")
    }  # fmt: skip

    def lines(what: str) -> list[Line]:
        found = [
            Line("training", epochs, columns[f"train_{what}"], "a"),
            Line("training, measured again", epochs, columns[f"evaluated_train_{what}"], "a thin"),
            Line("validation", epochs, columns[f"val_{what}"], "b"),
        ]
        return [line for line in found if any(value is not None for value in line.y)]

    best = next((one for one in records if one.epoch == best_epoch and one.val_accuracy is not None), None)
    marks = [(float(best.epoch), float(best.val_accuracy or 0), f"best: {best.val_accuracy:.2%}")] if best else []
    return [
        Chart("Loss (cross-entropy)", lines("loss"), zero=True),
        Chart("Accuracy", lines("accuracy"), percent=True, marks=marks),
        Chart("Learning rate", [Line("learning rate", *rates, "c")], zero=True, wide=934, high=120),
    ]


def confusion_cells(answers: SavedPredictions) -> list[list[dict[str, Any]]]:
    """The matrix as rows of cells: count, share of the row, whether it is on the diagonal."""
    counts = answers.confusion()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return [
        [{"count": int(counts[a, b]), "share": float(shares[a, b]), "right": a == b} for b in range(len(counts))]
        for a in range(len(counts))
    ]


@cache
def environment() -> jinja2.Environment:
    """The templates; whatever is put into them is escaped, and loses the places of its paths."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("lenext.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=lambda one: without_places(one) if isinstance(one, str) else one,
    )  # fmt: skip
    made.filters |= {"percent": lambda value: f"{value:.1%}", "thousands": lambda value: f"{value:,}"}
    made.globals |= {
        "bar": lambda share, look: Markup(bar(share, look)),
        "chart": lambda one: Markup(one.draw()),
        "reliability": lambda rows: Markup(reliability(rows)),
    }
    return made


def render(template: str, **content: Any) -> str:
    """A template of reporting/templates with what is to be in it."""
    return environment().get_template(template).render(**content)
