"""Figures show the numbers they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenext.inspection.arithmetic import Arithmetic
from lenext.reporting.console import seconds
from lenext.reporting.figures import confusion_matrix, curves, gallery, learning_rates, save_figure, steps
from lenext.training.rates import RateSearch
from lenext.training.state import Record

RECORDS = [Record(n, 1.0, 2.0 / n, 0.3 * n, 2.5 / n, 0.25 * n, 0.1 / n) for n in (1, 2, 3)]


def test_curves_are_the_records() -> None:
    figure = curves(RECORDS, "title", best_epoch=3)
    loss, accuracy, rate = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.get_lines()}
    assert lines["validation"] == [record.val_accuracy for record in RECORDS]
    assert lines["training (running mean)"] == [record.train_accuracy for record in RECORDS]
    assert list(loss.get_lines()[0].get_ydata()) == [record.train_loss for record in RECORDS]
    assert list(rate.get_lines()[0].get_ydata()) == [record.learning_rate for record in RECORDS]
    assert lines["best: 75.00% (epoch 3)"] == [RECORDS[2].val_accuracy]


def test_curves_without_validation_and_of_one_epoch() -> None:
    alone = [Record(1, 1.0, 2.0, 0.3, None, None, 0.1)]
    assert len(curves(alone, "t").axes[0].get_lines()) == 1


@pytest.mark.parametrize("number", [2, 10, 31, 200])
def test_confusion_matrix_is_the_counts(number: int, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 50, (number, number))
    counts[0] = 0
    figure = confusion_matrix(counts, [f"class {n}" for n in range(number)], "title")
    axes = figure.axes[0]
    shown = np.asarray(axes.images[0].get_array())
    assert shown[1] == pytest.approx(counts[1] / counts[1].sum())
    assert shown[0].sum() == 0
    if number <= 30:
        texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
        assert texts[(1, 1)] == str(counts[1, 1])
        assert len(texts) == (counts > 0).sum()
    save_figure(figure, tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.width > 300


@pytest.mark.parametrize(("number", "channels"), [(0, 1), (1, 1), (11, 3)])
def test_gallery_shows_each_picture_as_it_is(number: int, channels: int, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (number, channels, 6, 6), dtype=np.uint8)
    figure = gallery(pictures, [f"caption {n}" for n in range(number)], "title")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(shown) == number
    for one, picture in zip(shown, pictures, strict=True):
        assert np.array_equal(one.reshape(6, 6, channels), picture.transpose(1, 2, 0))
    save_figure(figure, tmp_path / "g.png")


def test_steps_colour_what_the_kernel_touches() -> None:
    arithmetic = Arithmetic(5, 3, stride=2, padding=1)
    figure = steps(arithmetic)
    above, below = figure.axes[: arithmetic.output], figure.axes[arithmetic.output :]
    for place, (one, other) in enumerate(zip(above, below, strict=True)):
        cells = np.asarray(one.collections[0].get_array()).reshape(7, 7, 3)
        dark = cells.sum(2) < 1.9
        columns = [pixel + 1 for pixel in arithmetic.touched(place)]
        assert dark.any(0).nonzero()[0].tolist() == columns
        out = np.asarray(other.collections[0].get_array()).reshape(3, 3, 3)
        assert (out.sum(2) < 1.9).nonzero()[1].tolist() == [place]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.44, "0.4 s"), (9.97, "10 s"), (12.3, "12 s"), (59.7, "1 min 0 s"), (179.6, "3 min 0 s"), (200, "3 min 20 s"),
     (3599.8, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations(value: float, said: str) -> None:
    assert seconds(value) == said


def test_learning_rates_are_numbers_that_can_be_read() -> None:
    figure = learning_rates(RateSearch((1e-4, 1e-3, 1e-2), (2.3, 2.0, 2.5), 1e-3), "t")
    (axes,) = figure.axes
    assert list(axes.get_lines()[0].get_xdata()) == [1e-4, 1e-3, 1e-2]
    assert axes.xaxis.get_major_formatter()(1e-3, 0) == "0.001"
