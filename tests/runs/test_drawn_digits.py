"""Drawn digits are centred and scaled as MNIST's, and predictions say why they may be wrong."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import lenext
from lenext.data.adjustment import BOX, CANVAS, center_digit
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.runs.folder import Run
from lenext.runs.predict import Prediction
from tests.conftest import draw_image

SEVEN = [[(0, 0), (50, 2)], [(50, 2), (22, 90)]]


def draw(
    lines: list[list[tuple[int, int]]], at: tuple[int, int], *, paper: int = 255, ink: int = 20, scale: float = 1.0
) -> Image.Image:
    """A digit on paper of 300 x 200 px, drawn with a pen."""
    image = Image.new("L", (300, 200), paper)
    pen = ImageDraw.Draw(image)
    for line in lines:
        pen.line([(scale * x + at[0], scale * y + at[1]) for x, y in line], fill=ink, width=round(5 * scale))
    return image


@settings(max_examples=40)
@given(st.integers(5, 200), st.integers(5, 90), st.sampled_from([(255, 20), (10, 240), (200, 90)]))
def test_place_and_polarity_do_not_matter(x: int, y: int, colors: tuple[int, int]) -> None:
    paper, ink = colors
    centered = center_digit(np.asarray(draw(SEVEN, (x, y), paper=paper, ink=ink)))
    assert np.abs(centered.astype(int) - center_digit(np.asarray(draw(SEVEN, (60, 60))))).max() <= 2
    assert centered.max() == 255
    rows, columns = np.flatnonzero(centered.any(1)), np.flatnonzero(centered.any(0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == BOX
    middle = (centered.sum(1) * np.arange(CANVAS)).sum() / centered.sum()
    assert abs(middle - (CANVAS - 1) / 2) <= 0.51


def test_size_matters_little() -> None:
    small, large = (center_digit(np.asarray(draw(SEVEN, (20, 20), scale=scale))) / 255 for scale in (0.6, 1.6))
    assert np.abs(small - large).mean() < 0.08


@pytest.mark.parametrize("value", [0, 255, 128])
def test_a_blank_image_gives_a_black_one(value: int) -> None:
    assert not center_digit(np.full((20, 30), value, dtype=np.uint8)).any()


def write_digit(digit: int, at: tuple[int, int], size: int, angle: float, *, paper: int, ink: int) -> Image.Image:
    """A digit in a font's hand on 300 x 200 px."""
    image = Image.new("L", (300, 200), paper)
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).text(at, str(digit), font=font, fill=ink)
    center = (at[0] + size / 3, at[1] + size / 2)
    return image.rotate(angle, Image.Resampling.BILINEAR, center=center, fillcolor=paper)


@pytest.fixture(scope="module")
def written() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """400 digits, centred and scaled as MNIST's."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 10
    images = [
        center_digit(
            np.asarray(
                write_digit(digit, (80, 30), int(random.integers(70, 130)), random.uniform(-12, 12), paper=0, ink=255)
            )
        )
        for digit in labels.tolist()
    ]
    return np.stack(images), labels


@pytest.fixture(scope="module")
def run(written: tuple[NDArray[np.uint8], NDArray[np.int64]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = Dataset.from_arrays(*written, classes=tuple("0123456789"))
    folder = tmp_path_factory.mktemp("runs")
    return lenext.train("lenet", data=data, epochs=15, name="digits", runs_dir=folder, quiet=True)


@pytest.mark.parametrize(("digit", "at", "size"), [(7, (10, 5), 90), (4, (230, 110), 80)])
def test_a_digit_on_paper_is_right_with_the_option_that_the_remark_names(
    run: Run, tmp_path: Path, digit: int, at: tuple[int, int], size: int
) -> None:
    """Dark on white, 300 x 200 and off-centre: the crop cuts it, and its polarity is wrong."""
    path = tmp_path / "drawn.png"
    write_digit(digit, at, size, 5, paper=255, ink=20).save(path)
    before, after = (lenext.predict(run, path, digit=value)[0] for value in (False, True))
    assert isinstance(before, Prediction)
    assert isinstance(after, Prediction)
    assert any("--digit" in remark for remark in before.remarks)
    assert any("the crop removed 33%" in remark for remark in before.remarks)
    assert after.classes[0] == str(digit)
    assert not any("--digit" in remark or "crop" in remark for remark in after.remarks)


def test_a_training_image_has_no_remark_about_its_looks(
    run: Run, written: tuple[NDArray[np.uint8], NDArray[np.int64]], tmp_path: Path
) -> None:
    paths = []
    for number, image in enumerate(written[0][:20]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    remarks = [remark for prediction in lenext.predict(run, *paths) for remark in prediction.remarks]  # type: ignore[union-attr]
    assert [remark for remark in remarks if not remark.startswith("unsure")] == []


def test_inverting_and_fitting_change_what_the_network_gets(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    draw_image(0, (60, 40), 0).save(path)
    options = ({}, {"invert": "yes"}, {"fit": "pad"}, {"fit": "stretch"}, {"digit": True})
    probabilities = {lenext.predict(run, path, **option)[0].probabilities for option in options}  # type: ignore[arg-type, union-attr]
    assert len(probabilities) == len(options)


def test_inverting_twice_is_no_change(run: Run, tmp_path: Path) -> None:
    dark, bright = tmp_path / "dark.png", tmp_path / "bright.png"
    image = draw(SEVEN, (100, 50), paper=0, ink=255)
    image.save(dark)
    Image.eval(image, lambda value: 255 - value).save(bright)
    first, second, third = (
        lenext.predict(run, path, invert=invert)[0] for path, invert in ((dark, "no"), (bright, "auto"), (dark, "auto"))
    )  # type: ignore[arg-type]
    assert first.probabilities == second.probabilities == third.probabilities  # type: ignore[union-attr]


@pytest.mark.parametrize("option", [{"invert": "maybe"}, {"fit": "tile"}, {"digit": True, "fit": "pad"}])
def test_bad_options_are_refused(run: Run, tmp_path: Path, option: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        lenext.predict(run, tmp_path / "none.png", **option)  # type: ignore[arg-type]
