"""An image unlike the training images is told by its features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

import lenext
from lenext.runs.familiarity import NEIGHBOURS, Familiarity, nearest_distances
from lenext.runs.folder import Run
from lenext.runs.layout import FEATURES
from lenext.runs.predict import Prediction
from lenext.runs.remarks import UNLIKE


def test_distances_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.nn.functional.normalize(torch.randn(50, 8, generator=generator), dim=1)
    features = torch.randn(20, 8, generator=generator)
    expected, _ = (
        NearestNeighbors(n_neighbors=NEIGHBOURS)
        .fit(reference)
        .kneighbors(torch.nn.functional.normalize(features, dim=1))
    )
    np.testing.assert_allclose(nearest_distances(features, reference), expected[:, -1], atol=1e-5)


def test_it_is_written_and_read(tmp_path: Path) -> None:
    made = Familiarity.measure(torch.rand(30, 6), torch.rand(30, 6))
    made.save(tmp_path)
    read = Familiarity.load(tmp_path)
    assert read is not None
    assert torch.equal(read.features, made.features)
    assert read.limit == pytest.approx(made.limit)
    assert made.is_unlike(torch.rand(2, 7)) == [False, False]  # of another network
    assert Familiarity.load(tmp_path / "none") is None
    (tmp_path / FEATURES).write_bytes(b"damaged")
    assert Familiarity.load(tmp_path) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return lenext.train("lenet", "digits", epochs=8, runs_dir=tmp_path_factory.mktemp("runs"), quiet=True)


def predictions(run: Run | Path, folder: Path) -> list[Prediction]:
    return [found for found in lenext.predict(run, folder) if isinstance(found, Prediction)]


def test_digits_are_familiar_and_noise_is_not(run: Run, tmp_path: Path) -> None:
    digits, strange = tmp_path / "digits", tmp_path / "strange"
    digits.mkdir()
    strange.mkdir()
    for index, image in enumerate(load_digits().images[:300]):
        Image.fromarray((image * 15.9).astype(np.uint8)).save(digits / f"{index:03d}.png")
    noise = np.random.default_rng(0)
    for index in range(20):
        Image.fromarray((255 * (noise.random((8, 8)) < 0.4)).astype(np.uint8)).save(strange / f"{index:02d}.png")
    familiar, unlike = ([UNLIKE in found.remarks for found in predictions(run, folder)] for folder in (digits, strange))
    assert sum(familiar) <= 0.03 * len(familiar)
    assert sum(unlike) >= 0.4 * len(unlike)
    by_file = predictions(run.weights("best"), strange)
    assert [UNLIKE in found.remarks for found in by_file] == unlike


def test_without_validation_nothing_is_kept(tmp_path: Path) -> None:
    run = lenext.train("lenet", "digits", epochs=1, validation_fraction=0, runs_dir=tmp_path, quiet=True)
    assert not (run.path / "weights" / FEATURES).exists()
