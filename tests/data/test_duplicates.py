"""Copies are found after every kind of change, and images that only resemble one another are not reported."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn import functional as F

from lenext.data.alignment import align, difference, to_luma, warp
from lenext.data.dataset import Dataset, Split
from lenext.data.duplicates import find_exact_duplicates
from lenext.data.near_duplicates import find_near_duplicates

Change = Callable[[Image.Image], Image.Image]


def compress(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    margin = round(share * image.width)
    return image.crop((margin, margin, image.width - margin, image.height - margin))


def flip_bit(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    pixels[17, 23, 1] ^= 1
    return Image.fromarray(pixels)


CHANGES: dict[str, tuple[Change, str]] = {
    "one bit": (flip_bit, "nearly the same"),
    "JPEG 98": (lambda image: compress(image, 98), "nearly the same"),
    "JPEG 75": (lambda image: compress(image, 75), "nearly the same"),
    "half the size": (lambda image: image.resize((40, 40)), "nearly the same"),
    "brightness x 0.8": (lambda image: ImageEnhance.Brightness(image).enhance(0.8), "another brightness"),
    "grey": (lambda image: image.convert("L").convert("RGB"), "grey"),
    "mirrored": (ImageOps.mirror, "mirrored"),
    "cropped 5 %": (lambda image: crop(image, 0.05), "cropped"),
    "cropped 10 %": (lambda image: crop(image, 0.1), "cropped"),
}


def to_tensor(image: Image.Image, side: int = 64) -> Tensor:
    return torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1).copy())


def to_split(images: Tensor) -> Split:
    return Split(images, torch.zeros(len(images), dtype=torch.int64), np.arange(len(images)))


@pytest.fixture(scope="module")
def tiles() -> list[Image.Image]:
    """Parts of two photographs that show more than the sky or a blurred background."""
    tiles = []
    for photo in load_sample_images().images:
        for top in range(0, photo.shape[0] - 79, 80):
            for left in range(0, photo.shape[1] - 79, 80):
                tile = photo[top : top + 80, left : left + 80]
                if tile.mean(2).std() > 25:
                    tiles.append(Image.fromarray(tile))
    return tiles


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_copies_are_found_and_nothing_else(tiles: list[Image.Image], kind: str) -> None:
    """Every third image has a copy in `test`: exactly these pairs are found, and the change is named."""
    change, name = CHANGES[kind]
    train = torch.stack([to_tensor(tile) for tile in tiles])
    originals = list(range(0, len(tiles), 3))
    test = torch.stack([to_tensor(change(tiles[at])) for at in originals])
    pairs = find_near_duplicates({"train": to_split(train), "test": to_split(test)})
    expected = {(("train", row), ("test", at)) for at, row in enumerate(originals)}
    assert {(pair.first, pair.second) for pair in pairs} == expected
    assert sum(pair.change == name for pair in pairs) > len(pairs) / 2, [pair.change for pair in pairs]


def test_different_images_are_no_copies(digits: Dataset, tiles: list[Image.Image]) -> None:
    assert len(find_near_duplicates(digits.splits())) <= 1  # of 1.6 million pairs of 8 x 8 pixels
    assert find_near_duplicates({"train": to_split(torch.stack([to_tensor(tile) for tile in tiles]))}) == []


def test_the_same_shape_on_another_ground_is_no_copy() -> None:
    """Discs on noise agree in all large structures once aligned."""
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48]
    images = []
    for _ in range(200):
        top, left, radius = (*draw.integers(16, 32, 2).tolist(), int(draw.integers(6, 10)))
        disc = (rows - top) ** 2 + (columns - left) ** 2 < radius**2
        images.append(draw.integers(20, 80, (3, 48, 48)) + disc * draw.integers(90, 170, (3, 1, 1)))
    train = torch.from_numpy(np.stack(images).astype(np.uint8))
    pairs = find_near_duplicates({"train": to_split(train), "test": to_split(train[:20].flip(3))})
    assert {(pair.first, pair.second) for pair in pairs} == {(("train", row), ("test", row)) for row in range(20)}


def test_many_copies_of_one_image_are_found(tiles: list[Image.Image]) -> None:
    """Copies are found even if every reference group contains copies."""
    images = torch.stack([to_tensor(tile) for tile in tiles[:20]] + [to_tensor(tiles[0])] * 40)
    for number in range(40):
        images[20 + number, 0, number, number] ^= 3
    pairs = find_near_duplicates({"train": to_split(images)})
    assert {copy.first[1] for copy in pairs} | {copy.second[1] for copy in pairs} == {0, *range(20, 60)}


def test_blank_images_are_left_out() -> None:
    images = torch.arange(0, 250, 5, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 16, 16)
    images[:, 0, 3, 3] += 1
    assert find_near_duplicates({"train": to_split(images)}) == []


@pytest.mark.parametrize("count", [1, 2, 3, 6, 17])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (3, 20, 50), (1, 100, 33)])
def test_few_small_and_long_images(count: int, shape: tuple[int, int, int]) -> None:
    """Two images of noise differ; a copy of one is found."""
    images = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    copy = images[:1] ^ 1
    pairs = find_near_duplicates({"train": to_split(images), "test": to_split(copy)})
    expected = [] if shape == (1, 1, 1) else [(("train", 0), ("test", 0))]
    assert [(pair.first, pair.second) for pair in pairs] == expected


def test_images_equal_to_the_pixel_take_part_once(tiles: list[Image.Image]) -> None:
    """The second and third of three equal images are not reported as near duplicates."""
    train = torch.stack([to_tensor(tile) for tile in tiles])
    splits = {"train": to_split(train), "test": to_split(train[[4, 4, 7]])}
    groups = find_exact_duplicates(splits)
    assert groups == [[("train", 4), ("test", 0), ("test", 1)], [("train", 7), ("test", 2)]]
    assert find_near_duplicates(splits, groups) == []
    assert len(find_near_duplicates(splits)) == 4


def test_same_shapes_in_other_colours_are_no_copies() -> None:
    """A red and a green light on the same ground."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)
    images[:2] = 40
    images[0, 0, 8:20, 8:20], images[1, 1, 8:20, 8:20] = 200, 122  # as bright as one another
    assert find_near_duplicates({"train": to_split(images)}) == []


@given(gain=st.floats(0.3, 3), offset=st.floats(-50, 50), seed=st.integers(0, 1000))
def test_brightness_and_contrast_make_no_difference(gain: float, offset: float, seed: int) -> None:
    image = torch.rand((1, 1, 12, 12), generator=torch.Generator().manual_seed(seed)) * 255
    assert float(difference(image, gain * image + offset, torch.ones_like(image))) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("scale", "shift"), [((0.9, 0.9), (0.0, 0.0)), ((0.8, 0.85), (0.05, -0.06)), ((0.95, 0.9), (-0.05, 0.02))]
)
def test_alignment_finds_the_part(
    tiles: list[Image.Image], scale: tuple[float, float], shift: tuple[float, float]
) -> None:
    """The position of a crop is found to a quarter of a pixel of 32, also at another brightness."""
    image = F.avg_pool2d(to_luma(torch.stack([to_tensor(tile, 96) for tile in tiles[:8]])), 3)
    true_values = [torch.tensor([pair]).repeat(len(image), 1) for pair in (scale, shift)]
    target = 0.7 * warp(image, *true_values)[0] + 20
    first = torch.full((len(image), 2), 0.9), torch.zeros(len(image), 2)
    found_scale, found_shift = align(image, target, *first)
    assert float((found_scale - true_values[0]).abs().median()) < 0.015
    assert float((found_shift - true_values[1]).abs().median()) < 0.015


def test_luma_is_pillows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    ours = to_luma(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])[0, 0].numpy()
    assert np.abs(ours - np.array(Image.fromarray(pixels).convert("L"))).max() <= 1
