"""The operators of an exported file give the tool's own pixels, bit for bit."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image

from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import crop_boxes, padded_size, resize
from lenext.exporting.graph import UNIT, PreparedImages, crop_taps, fit_pixels
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import Fit, Resize

LENGTHS = st.integers(1, 160)
FITS: list[Fit] = ["crop", "pad"]


def random_pixels(channels: int, height: int, width: int, seed: int) -> np.ndarray:
    """Uneven pixels (C, H, W) of 0 to 255."""
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8)


def by_tool(pixels: np.ndarray, height: int, width: int, fit: Fit) -> np.ndarray:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    return np.array(resize(image, height, width, fit)).reshape(height, width, -1).transpose(2, 0, 1)


@settings(max_examples=150)
@given(LENGTHS, LENGTHS, LENGTHS, LENGTHS, st.sampled_from([1, 3]), st.sampled_from(FITS), st.integers(0, 99))
def test_pixels_are_those_of_the_tool(
    file_height: int, file_width: int, height: int, width: int, channels: int, fit: Fit, seed: int
) -> None:
    pixels = random_pixels(channels, file_height, file_width, seed)
    graph = fit_pixels(torch.from_numpy(pixels)[None], height, width, crop=fit == "crop")[0].numpy()
    np.testing.assert_array_equal(graph, by_tool(pixels, height, width, fit))


@pytest.mark.parametrize("fit", FITS)
def test_a_photograph_of_the_usual_sizes(fit: Fit) -> None:
    for file_height, file_width in ((375, 500), (3000, 4000), (2, 3000)):
        pixels = random_pixels(3, file_height, file_width, 0)
        graph = fit_pixels(torch.from_numpy(pixels)[None], 224, 224, crop=fit == "crop")[0].numpy()
        np.testing.assert_array_equal(graph, by_tool(pixels, 224, 224, fit))


def test_float32_is_off_by_a_level_at_most() -> None:
    pixels = random_pixels(3, 301, 417, 0)
    graph = fit_pixels(torch.from_numpy(pixels)[None], 64, 64, crop=True, dtype=torch.float32)[0].numpy()
    difference = np.abs(graph - by_tool(pixels, 64, 64, "crop").astype(np.float32))
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.01


@given(LENGTHS, LENGTHS, LENGTHS, LENGTHS)
def test_the_definition(file_height: int, file_width: int, height: int, width: int) -> None:
    (left, right), (top, bottom) = crop_boxes(file_height, file_width, height, width)
    assert 0 <= left < right <= file_width * (1 + 1e-12)
    assert (right - left) / (bottom - top) == pytest.approx(width / height)
    inner_height, inner_width = padded_size(file_height, file_width, height, width)
    assert 1 <= inner_height <= min(height, file_height)
    assert 1 <= inner_width <= min(width, file_width)
    for taps, length in zip(
        crop_taps(file_height, file_width, height, width, torch.float64), (file_height, file_width), strict=True
    ):
        whole = torch.floor(taps * UNIT + 0.5).sum(1)
        assert (whole - UNIT).abs().max() <= length  # each tap is rounded by half a unit at most


def test_an_image_of_the_size_is_left_alone() -> None:
    pixels = random_pixels(3, 28, 28, 0)
    for fit in FITS:
        np.testing.assert_array_equal(by_tool(pixels, 28, 28, fit), pixels)


PLANS: dict[str, tuple[int, tuple[int, int], tuple[int, int], Resize, int]] = {
    "as stored": (1, (28, 28), (28, 28), "interpolate", 0),
    "shrunk": (3, (32, 32), (20, 24), "interpolate", 0),
    "enlarged": (1, (8, 8), (28, 28), "interpolate", 0),
    "padded": (1, (28, 28), (33, 32), "pad", 0),
    "cropped": (3, (40, 41), (32, 32), "crop", 0),
    "grey for three channels": (1, (28, 28), (32, 32), "interpolate", 3),
}


@pytest.mark.parametrize("plan", PLANS)
def test_the_whole_preprocessing(plan: str) -> None:
    channels, stored, size, how, network_channels = PLANS[plan]
    normalization = Normalization((0.4,) * channels, (0.3,) * channels)
    prepare = Preprocessing(channels, stored, "crop", size, how, normalization, network_channels)
    images = torch.from_numpy(np.stack([random_pixels(channels, *stored, seed) for seed in range(3)]))
    torch.testing.assert_close(PreparedImages(prepare)(images), prepare(images), atol=5e-6, rtol=0)
