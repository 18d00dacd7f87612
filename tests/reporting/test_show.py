"""Each figure shows the numbers that it is given, read back from the figure itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import correlate

import lenext
from lenext.cli import SHOWN
from lenext.cli import run as run_command_line
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.inspection.features import head_features
from lenext.models import create
from lenext.reporting.figures.canvas import save_figure, tile_images
from lenext.reporting.figures.explanations import overlay_heat
from lenext.reporting.figures.filters import HAND_MADE_KERNELS, cross_correlate
from lenext.reporting.figures.images import channel_values
from lenext.reporting.figures.training import run_curves
from lenext.runs.folder import Run
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.workflows import show
from lenext.workflows.opened_run import open_run
from lenext.workflows.show.inputs import load_image
from lenext.workflows.show.layers import first_kernels

DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return lenext.train("lenet", "digits", epochs=2, runs_dir=tmp_path_factory.mktemp("seeing"), quiet=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(DRAW.integers(0, 256, (60, 50, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    return tmp_path / "p.png"


def images_of(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(one.get_array()) for axes in figure.axes for one in axes.get_images()]


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_tiles_hold_their_images() -> None:
    images = DRAW.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    sheet = tile_images(images, 2)
    assert sheet.shape == (16, 14, 3)
    assert np.array_equal(sheet[6:10, 8:14], images[3].transpose(1, 2, 0))
    assert (sheet[12:, 8:] == 255).all()


def test_a_grid_has_each_class_in_its_row(digits: Dataset) -> None:
    figure = show.data(digits, per_class=4)
    (sheet,) = images_of(figure)
    for label in range(10):
        first = digits.train.images[(digits.train.labels == label).nonzero()[:4, 0]].numpy()
        for at in range(4):
            shown = sheet[30 * label : 30 * label + 28, 30 * at : 30 * at + 28]
            assert np.array_equal(shown.squeeze(), first[at, 0])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(digits.classes)
    both = images_of(show.data(digits, per_class=4, augmented=Recipe(shift=3)))
    assert np.array_equal(both[0], sheet)
    assert not np.array_equal(both[1], sheet)


def test_channels_have_their_values_written_in() -> None:
    pixels = DRAW.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    normalized = DRAW.normal(size=(3, 5, 4))
    figure = channel_values(pixels, normalized, "t")
    assert [np.array_equal(one, pixels[at]) for at, one in enumerate(images_of(figure)[:3])] == [True] * 3
    texts = texts_of(figure)
    assert texts[:20] == [str(value) for value in pixels[0].ravel()]
    assert texts[60:80] == [f"{value:.1f}" for value in normalized[0].ravel()]
    large = channel_values(DRAW.integers(0, 256, (1, 40, 40), dtype=np.uint8), np.zeros((1, 40, 40)), "t")
    assert texts_of(large) == []


def test_a_crop_and_its_normalization(digits: Dataset) -> None:
    figure = show.channels("digits", sample=7, crop=(6, 5, 9, 8))
    raw, normalized = images_of(figure)
    expected = digits.train.images[7, 0, 6:15, 5:13].numpy()
    assert np.array_equal(raw, expected)
    mean, std = digits.normalization.mean[0], digits.normalization.std[0]
    np.testing.assert_allclose(normalized, (expected / 255 - mean) / std, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigurationError, match="outside of 28 x 28"):
        show.channels("digits", crop=(20, 0, 9, 9))
    with pytest.raises(DataError, match="there is no sample 99999"):
        show.channels("digits", sample=99_999)


@pytest.mark.parametrize("name", HAND_MADE_KERNELS)
def test_hand_made_filters_as_scipy_has_them(name: str) -> None:
    grey, kernel = DRAW.uniform(0, 255, (9, 12)), np.array(HAND_MADE_KERNELS[name])
    np.testing.assert_allclose(cross_correlate(grey, kernel), correlate(grey, kernel, mode="nearest"))


def test_filters_beside_learned_ones(image: Path, run: Run) -> None:
    figure = show.filters(image, run, size=40)
    learned = create("lenet").conv1.weight.shape[0]
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_images()]
    assert titles == ["image", *HAND_MADE_KERNELS, *(f"learned {at + 1}" for at in range(learned))]
    grey, kernel = images_of(figure)[0].astype(float).squeeze(), np.array(HAND_MADE_KERNELS["vertical edges"])
    assert np.allclose(images_of(figure)[1], cross_correlate(grey, kernel))


def test_kernels_are_the_weights(run: Run) -> None:
    (sheet,) = images_of(show.kernels(run))
    module = open_run(run).module
    weights = first_kernels(module)
    first = weights[0, 0]
    scaled = (255 * (first - weights[0].min()) / (weights[0].max() - weights[0].min())).astype(np.uint8)
    assert np.array_equal(sheet[:5, :5].squeeze(), scaled)


def test_feature_maps_are_those_of_the_layer(run: Run, image: Path) -> None:
    figure = show.features(run, image, layer="conv1")
    module, description = open_run(run).weights
    images, _ = load_image(image, description)
    expected = module.conv1(images)[0].detach().numpy()
    for at, shown in enumerate(images_of(figure)[1:]):
        np.testing.assert_allclose(shown, expected[at], rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigurationError, match="gives no maps; those that do: conv1"):
        show.features(run, image, layer="fc1")


def test_overlays_are_bright_where_the_map_is() -> None:
    heat = np.zeros((8, 8))
    heat[2, 5] = 1.0
    laid = overlay_heat(np.full((1, 8, 8), 100, dtype=np.uint8), heat)
    brightness = laid.astype(int).sum(2)
    assert np.unravel_index(brightness.argmax(), (8, 8)) == (2, 5)
    assert laid.shape == (8, 8, 3)


def test_explained_images_and_answers(run: Run, image: Path) -> None:
    figure = show.explain(run, image)
    (prediction,) = lenext.predict(run, image)
    assert isinstance(prediction, lenext.runs.predict.Prediction)
    assert figure.axes[0].get_title("left") == f"{prediction.classes[0]} ({prediction.probabilities[0]:.0%})"
    assert [axes.get_title("left") for axes in figure.axes[1:]] == ["saliency", "Grad-CAM", "occlusion"]


def test_confusion_in_per_cent(run: Run) -> None:
    answers = open_run(run).answers
    counts = answers.confusion()
    for normalized in (False, True):
        figure = show.confusion(run, normalized=normalized)
        numbers = [int(text) for text in texts_of(figure)]
        expected = np.rint(100 * counts / counts.sum(1, keepdims=True)).astype(int) if normalized else counts
        assert numbers == expected[expected > 0].tolist()


def test_bars_by_class(run: Run) -> None:
    figure = show.classes(run)
    expected = {row["class"]: row["f1"] for row in run.results["classes"]}
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    drawn = [patch.get_width() for patch in figure.axes[0].patches]
    assert dict(zip(names, drawn, strict=True)) == pytest.approx(expected)
    assert drawn == sorted(drawn, reverse=True)


def test_reliability_bars(run: Run) -> None:
    answers = open_run(run).answers
    figure = show.reliability(run)
    assert [patch.get_height() for patch in figure.axes[0].patches] == [
        right for _, right, _ in answers.reliability_bins()
    ]
    assert f"{answers.calibration_error:.1%}" in figure.axes[0].get_title("left")


def test_points_of_one_class_lie_together(run: Run) -> None:
    figure = show.embedding(run)
    points = [np.asarray(one.get_offsets()) for one in figure.axes[0].collections]
    assert [len(some) for some in points] == [row["images"] for row in run.results["classes"]]
    centres = np.array([some.mean(0) for some in points])
    within = np.mean(
        [np.linalg.norm(some - centre, axis=1).mean() for some, centre in zip(points, centres, strict=True)]
    )
    between = np.linalg.norm(centres[:, None] - centres[None], axis=2)[np.triu_indices(10, 1)].mean()
    assert between > within


def test_features_before_the_last_layer(run: Run, digits: Dataset) -> None:
    module, description = open_run(run).weights
    assert digits.test is not None
    few = digits.test.take(torch.arange(70))
    features = head_features(module, few, description.preprocessing, Compute.choose("cpu", "fp32")).numpy()
    assert features.shape == (70, 84)
    images = description.preprocessing(few.images)
    np.testing.assert_allclose(features @ module.fc3.weight.detach().numpy().T + module.fc3.bias.detach().numpy(),
                               module(images).detach().numpy(), atol=1e-4)  # fmt: skip


def test_receptive_fields_are_those_of_the_summary(image: Path) -> None:
    figure = show.field("resnet18", image)
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == sorted(widths)
    assert widths[0] == 7
    assert widths[-1] <= 224


def test_several_runs_in_one_figure() -> None:
    records = [Record(at, 1.0, 1 / at, 0.5, 2 / at, at / 8, 0.1) for at in (1, 2, 3)]
    figure = run_curves({"a": records, "b": records[:2]}, "t")
    accuracy = [line for line in figure.axes[1].lines if line.get_label() in ("a", "b")]
    assert [list(line.get_ydata()) for line in accuracy] == [[1 / 8, 2 / 8, 3 / 8], [1 / 8, 2 / 8]]
    without = [Record(1, 1.0, 1.0, 0.5, None, None, 0.1)]
    assert run_curves({"c": without}, "t").axes[0].lines[0].get_label() == "c"


ARGUMENTS = {
    "data": (["digits"], ["--per-class", "3"], {"per_class": 3}),
    "channels": (["digits"], ["--sample", "3", "--crop", "6,6,8,8"], {"sample": 3, "crop": (6, 6, 8, 8)}),
    "filters": (["IMAGE"], ["--run", "RUN", "--size", "40"], {"run": "RUN", "size": 40}),
    "kernels": (["RUN"], [], {}),
    "features": (["RUN", "IMAGE"], ["--layer", "conv1"], {"layer": "conv1"}),
    "confusion": (["RUN"], ["--normalized"], {"normalized": True}),
    "classes": (["RUN"], [], {}),
    "reliability": (["RUN"], [], {}),
    "curves": (["RUN", "RUN"], [], {}),
    "embedding": (["RUN"], [], {}),
    "field": (["lenet", "IMAGE"], ["--image-size", "40"], {"image_size": 40}),
}
"""For each figure of `lenext show`: its arguments, its options, and the same options in Python."""


@pytest.mark.parametrize("name", SHOWN)
def test_python_draws_the_figure_of_the_command_line(name: str, run: Run, image: Path, tmp_path: Path) -> None:
    """Each `lenext show WHAT` is `lenext.show.WHAT`, and both give the same PNG."""
    values, options, keywords = ARGUMENTS[name]
    paths = {"RUN": str(run.path), "IMAGE": str(image)}
    words = [paths.get(word, word) for word in ["show", name, *values, *options, "--out", str(tmp_path / "cli.png")]]
    assert run_command_line(words) == 0
    keywords = {key: paths.get(str(value), value) for key, value in keywords.items()}
    figure = getattr(lenext.show, name)(*(paths.get(word, word) for word in values), **keywords)
    assert isinstance(figure, Figure)
    save_figure(figure, tmp_path / "python.png")
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "cli.png").read_bytes()


def test_figures_of_a_run_and_of_its_folder_are_the_same(run: Run, digits: Dataset) -> None:
    assert digits.test is not None
    pixels = digits.test.images[0]
    for opened in (run.path, run, open_run(run)):
        figures = show.features(opened, pixels, layer="conv1"), show.kernels(opened)
        assert [image.shape[:2] for image in images_of(figures[0])[:2]] == [(28, 28), (28, 28)]
    with pytest.raises(ConfigurationError, match=r"takes pixels of \(1, 28, 28\)"):
        show.features(run, pixels[:, :20])
    assert show.field(run, pixels).axes[0].patches
    for draw in (lambda: show.field(run, pixels, image_size=40), lambda: show.filters(pixels, size=40)):
        with pytest.raises(ConfigurationError, match="leave it out"):
            draw()


def test_a_run_predicts_and_draws_itself(run: Run, image: Path) -> None:
    assert run.predict(image, top=3) == lenext.predict(run, image, top=3)
    assert texts_of(run.confusion(normalized=True)) == texts_of(show.confusion(run, normalized=True))
    assert run.curves().axes[0].get_title("left") == "Loss (dotted: training)"
    assert len(run.explain(image).axes) == 4


def test_show_has_no_figure_beyond_those_of_the_command_line() -> None:
    assert set(show.__all__) == {*SHOWN, "explain"}


@pytest.mark.parametrize("image", [3, np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)])
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ConfigurationError, match="give an image file, or pixels"):
        lenext.show.filters(image)
