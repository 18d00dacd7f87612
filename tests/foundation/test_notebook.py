"""Runs, datasets and evaluations show themselves in a notebook, and what they show is theirs."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lenext
from lenext.data.dataset import Dataset, Split
from lenext.data.preview import GAP, SIDE
from lenext.training.evaluation import Evaluation


def shown_image(html: str) -> Image.Image:
    (content,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dataset_shows_images_by_class(channels: int) -> None:
    images = torch.zeros((25, channels, 8, 8), dtype=torch.uint8)
    labels = torch.arange(25) % 2
    images[labels == 1] = 200
    split = Split(images, labels, np.arange(25))
    html = Dataset("<b>", ("a", "b"), split)._repr_html_()
    assert "&lt;b&gt;" in html
    assert "25 train" in html
    pixels = np.array(shown_image(html).convert("L"))
    assert pixels.shape == (2 * (SIDE + GAP), 10 * (SIDE + GAP))
    assert pixels[SIDE // 2, SIDE // 2] == 0
    assert pixels[SIDE + GAP + SIDE // 2, 9 * (SIDE + GAP) + SIDE // 2] == 200
    assert shown_image(split._repr_html_()).size == shown_image(html).size


def test_an_empty_split_shows_nothing() -> None:
    empty = Split(torch.zeros((0, 1, 8, 8), dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), np.arange(0))
    assert "0 images" in empty._repr_html_()


def test_an_evaluation_shows_its_accuracy_and_interval() -> None:
    probabilities = torch.eye(2)[torch.tensor([0] * 45 + [1] * 3)]
    html = Evaluation(probabilities, torch.zeros(48, dtype=torch.int64), torch.ones(48))._repr_html_()
    assert "93.75%" in html
    assert "83.2% to 97.9%" in html


def test_a_run_shows_its_figures_and_curves(tmp_path: Path) -> None:
    run = lenext.train("lenet", data="digits", epochs=1, train_samples=64, runs_dir=tmp_path, quiet=True)
    html = run._repr_html_()
    assert f"{run.results['test']['accuracy']:.2%}" in html
    assert "95 % interval" in html
    with Image.open(run.path / "results.png") as curves:
        assert shown_image(html).size == curves.size
