"""Adjust images to those that a network was trained on: polarity, and the place and size of a drawn digit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

Invert = Literal["no", "yes", "auto"]
PredictFit = Literal["auto", "crop", "pad", "stretch"]

CANVAS, BOX = 28, 20  # pixels a side: MNIST's digits fit into a box of 20 on an image of 28
MIN_CONTRAST = 16  # of 255; less is a blank image
PAPER_NOISE = 0.2  # of the strongest ink; less is paper
MAX_INK_SIDE = 1000  # pixels; larger drawings are thickened at this size
MIN_COVERAGE, MAX_THICKENING = 0.2, 8  # of the box that ink covers, and steps to thicken thinner strokes


@dataclass(frozen=True)
class Adjustment:
    """A change of an image before it is resized as the training images were.

    Attributes:
        invert: Whether dark and bright are exchanged; auto: where the background is bright, and the training images
            are dark, or the reverse.
        digit: Whether the image is a drawn digit, to be centred and scaled as MNIST's are.
        stretch: Whether the image is stretched to the network's aspect instead of cropped.
        brightness: Mean of the training images, 0 to 1.
        size: (width, height) to stretch to.
    """

    invert: Invert = "no"
    digit: bool = False
    stretch: bool = False
    brightness: float = 0.5
    size: tuple[int, int] = (CANVAS, CANVAS)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the changed image, in the same mode."""
        if self.digit:
            digit = center_digit(np.asarray(image.convert("L")))
            image = Image.fromarray(digit if self.brightness < 0.5 else 255 - digit).convert(image.mode)
        elif self.invert == "yes" or (self.invert == "auto" and is_inverted(np.asarray(image), self.brightness)):
            image = ImageOps.invert(image)
        return image.resize(self.size, Image.Resampling.BILINEAR) if self.stretch else image


def background(pixels: NDArray[np.uint8]) -> float:
    """Return the median of an image's border (H, W) or (H, W, C), 0 to 255."""
    return median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))


def median(pixels: NDArray[np.uint8]) -> float:
    """Return the median of pixels, by counting them, which takes a fifth of the time of sorting."""
    counts = np.bincount(pixels.ravel(), minlength=256).cumsum()
    lower, upper = counts.searchsorted([(pixels.size + 1) // 2, pixels.size // 2 + 1])
    return float(lower + upper) / 2


def is_inverted(pixels: NDArray[np.uint8], brightness: float) -> bool:
    """Return whether a background is bright where the training images are dark (mean below 0.5), or the reverse."""
    return (background(pixels) > 127) != (brightness > 0.5)


def center_digit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a drawn digit as MNIST has it: bright on black, in a box of 20 px, its centre of mass in the middle of 28.

    Thin strokes are thickened until they cover a fifth of the box, as a pen's would be lost in 20 pixels. A blank image
    gives a black one. Source: yann.lecun.com/exdb/mnist (LeCun et al. 1998).

    Args:
        pixels: (H, W), of any size and polarity, on an even background.
    """
    ink = np.abs(pixels.astype(np.float64) - background(pixels))
    if ink.max() < MIN_CONTRAST:
        return np.zeros((CANVAS, CANVAS), dtype=np.uint8)
    ink /= ink.max()
    ink[ink < PAPER_NOISE] = 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    part = Image.fromarray((255 * ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).round().astype(np.uint8))
    scale = BOX / max(part.size)
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    small = thicken(part, size)
    weight = small / small.sum()
    center = [float((weight.sum(1 - axis) * np.arange(small.shape[axis])).sum()) for axis in (0, 1)]
    top, left = (
        int(np.clip(round((CANVAS - 1) / 2 - middle), 0, CANVAS - length))
        for middle, length in zip(center, small.shape, strict=True)
    )
    canvas = np.zeros((CANVAS, CANVAS), dtype=np.uint8)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def thicken(ink: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return ink scaled to (width, height), its strokes thickened until they cover MIN_COVERAGE, at full contrast."""
    if max(ink.size) > MAX_INK_SIDE:
        scale = MAX_INK_SIDE / max(ink.size)
        ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BOX)
    step = 2 * round(max(ink.size) / (2 * BOX) / 2) + 1  # about half a pixel of the box
    small = np.asarray(ink.resize(size, Image.Resampling.BOX))
    for _ in range(MAX_THICKENING):
        if small.mean() >= 255 * MIN_COVERAGE or step < 3:
            break
        for _ in range(step // 2):  # together a filter of `step` pixels, which alone takes six times as long
            ink = ink.filter(ImageFilter.MaxFilter(3))
        small = np.asarray(ink.resize(size, Image.Resampling.BOX))
    return (small.astype(np.float64) * (255 / max(1, int(small.max())))).round().astype(np.uint8)
