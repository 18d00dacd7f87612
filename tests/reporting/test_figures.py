"""Figures show the numbers they are given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from lenext.data.dataset import Dataset
from lenext.inspection.arithmetic import Arithmetic
from lenext.reporting import result_figures
from lenext.reporting.console import format_duration
from lenext.reporting.figures.arithmetic import kernel_steps
from lenext.reporting.figures.canvas import save_figure
from lenext.reporting.figures.confusion import confusion_matrix
from lenext.reporting.figures.images import image_grid
from lenext.reporting.figures.training import learning_rate_search, training_curves
from lenext.runs.folder import Run
from lenext.training.evaluation import Evaluation
from lenext.training.metrics import Record
from lenext.training.rates import RateSearch

RECORDS = [Record(n, 1.0, 2.0 / n, 0.3 * n, 2.5 / n, 0.25 * n, 0.1 / n) for n in (1, 2, 3)]


def test_curves_are_the_records() -> None:
    rates = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0], [0.01, 0.1, 0.08, 0.05, 0.02, 0.0]
    figure = training_curves(RECORDS, "title", 3, rates)
    loss, accuracy, rate = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.get_lines()}
    assert lines["validation"] == [record.val_accuracy for record in RECORDS]
    assert lines["training (running mean)"] == [record.train_accuracy for record in RECORDS]
    assert list(loss.get_lines()[0].get_ydata()) == [record.train_loss for record in RECORDS]
    (drawn,) = rate.get_lines()
    assert (list(drawn.get_xdata()), list(drawn.get_ydata())) == rates
    low, high = rate.get_xlim()
    assert low <= 0.5
    assert high >= 3.0
    assert lines["best: 75.00% (epoch 3)"] == [RECORDS[2].val_accuracy]


def test_curves_without_validation_and_of_one_epoch() -> None:
    alone = [Record(1, 1.0, 2.0, 0.3, None, None, 0.1)]
    assert len(training_curves(alone, "t", None, ([0.5], [0.1])).axes[0].get_lines()) == 1


def test_mistakes_are_shown_by_confidence(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The costliest mistake (row 1) is not the most confident one (row 0)."""
    captions: list[str] = []
    monkeypatch.setattr(
        result_figures, "image_grid", lambda pixels, texts, title, **_: captions.extend([*texts, title]) or Figure()
    )
    scores = torch.tensor([[0.0, 0.9, 0.1], [0.0, 0.3, 0.7], [0.9, 0.0, 0.1]])
    evaluation = Evaluation(scores, torch.tensor([2, 0, 0]), torch.tensor([2.3, 20.0, 0.1]))
    result_figures.write_test_figures(Run(tmp_path), evaluation, few.train.take(torch.arange(3)), ("a", "b", "c"), "t")
    assert captions == ["b (90%)\ntrue: c", "c (70%)\ntrue: a", "t: 2 mistakes, the most confident first"]


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
    with Image.open(tmp_path / "m.png") as image:
        assert image.width > 300


@pytest.mark.parametrize(("number", "channels"), [(0, 1), (1, 1), (11, 3)])
def test_a_grid_shows_each_image_unchanged(number: int, channels: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (number, channels, 6, 6), dtype=np.uint8)
    figure = image_grid(images, [f"caption {n}" for n in range(number)], "title")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(shown) == number
    for drawn, image in zip(shown, images, strict=True):
        assert np.array_equal(drawn.reshape(6, 6, channels), image.transpose(1, 2, 0))
    save_figure(figure, tmp_path / "g.png")


def test_steps_colour_what_the_kernel_covers() -> None:
    arithmetic = Arithmetic(5, 3, stride=2, padding=1)
    figure = kernel_steps(arithmetic)
    above, below = figure.axes[: arithmetic.output], figure.axes[arithmetic.output :]
    for place, (input_axes, output_axes) in enumerate(zip(above, below, strict=True)):
        cells = np.asarray(input_axes.collections[0].get_array()).reshape(7, 7, 3)
        dark = cells.sum(2) < 1.9
        columns = [pixel + 1 for pixel in arithmetic.covered_pixels(place)]
        assert dark.any(0).nonzero()[0].tolist() == columns
        out = np.asarray(output_axes.collections[0].get_array()).reshape(3, 3, 3)
        assert (out.sum(2) < 1.9).nonzero()[1].tolist() == [place]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.44, "0.4 s"), (9.97, "10 s"), (12.3, "12 s"), (59.7, "1 min 0 s"), (179.6, "3 min 0 s"), (200, "3 min 20 s"),
     (3599.8, "1 h 0 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations(value: float, text: str) -> None:
    assert format_duration(value) == text


def test_learning_rates_are_numbers_that_can_be_read() -> None:
    figure = learning_rate_search(RateSearch((1e-4, 1e-3, 1e-2), (2.3, 2.0, 2.5), 1e-3), "t")
    (axes,) = figure.axes
    assert list(axes.get_lines()[0].get_xdata()) == [1e-4, 1e-3, 1e-2]
    assert axes.xaxis.get_major_formatter()(1e-3, 0) == "0.001"
