"""What many tests need: one thread, small data of our own making, and torchvision as an oracle."""

import os
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; for the processes that tests start too

import numpy as np
import pytest
import torch
from PIL import Image

import lenext
from lenext.data.dataset import Dataset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Scikit-learn's digits, 28 x 28."""
    return lenext.load("digits")


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    """130 digits, with a test set: enough for two batches of 64."""
    rows = torch.arange(130)
    assert digits.test is not None
    return Dataset("few", digits.classes, digits.train.take(rows), test=digits.test.take(rows[:40]))


def draw_picture(label: int, size: tuple[int, int], seed: int) -> Image.Image:
    """A noisy colour picture whose upper half is bright for label 0 and whose lower half is for label 1."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    half = height // 2
    noise[slice(0, half) if label == 0 else slice(half, None)] += 180
    return Image.fromarray(noise)


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of class folders: `photos("train/up", "train/down", count=10)`; returns its path."""

    def make(*folders: str, count: int = 10, root: str = "photos") -> Path:
        base = tmp_path / root
        for place, folder in enumerate(folders):
            path = base / folder
            path.mkdir(parents=True)
            label = 0 if path.name in ("up", "a") else 1
            for number in range(count):
                size = (40 + 3 * number, 50 - 2 * number)
                picture = draw_picture(label, size, seed=100 * place + number)
                picture.save(path / f"{number:02d}.{('png', 'jpg', 'webp', 'bmp')[number % 4]}")
        return base

    return make
