"""Augment a batch at once, with random numbers that the caller has drawn: a pure function of its arguments.

Each image has its own row of random numbers, so no choice is shared by a batch, and nothing is drawn here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lenext.foundation.settings import ShiftPadding

FLIP, SHIFT, CUTOUT, CROP, JITTER, ERASE = 0, slice(1, 3), slice(3, 5), slice(5, 9), slice(9, 12), slice(12, 17)
DRAWS_PER_IMAGE = 17  # random numbers for an image: the columns above
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of the training images; the steps run in the order of `__call__`.

    Attributes:
        flip: Whether half of the images are mirrored.
        shift: Largest shift in pixels, in each direction.
        cutout: Side in pixels of one blanked square (DeVries & Taylor, arXiv:1708.04552).
        random_crop: Smallest fraction of the area that is cropped and scaled to the image's size; 1 turns it off
            (Szegedy et al., arXiv:1409.4842).
        color_jitter: Brightness, contrast and saturation are multiplied by 1 - color_jitter to 1 + color_jitter.
        random_erasing: Fraction of the images in which a random box is blanked (Zhong et al., arXiv:1708.04896).
        shift_padding: Pixels that a shift brings in: black, or the edge of the image, reflected.
    """

    flip: bool = False
    shift: int = 0
    cutout: int = 0
    random_crop: float = 1.0
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    shift_padding: ShiftPadding = "black"

    def __call__(self, images: Tensor, numbers: Tensor, blank: Sequence[float]) -> Tensor:
        """Augment images. Integers stay integers, except under random_crop and color_jitter.

        Args:
            images: (N, C, H, W), 0 to 255.
            numbers: (N, DRAWS_PER_IMAGE), random numbers in [0, 1).
            blank: The value of a blanked pixel, by channel.
        """
        if self.random_crop < 1:
            images = crop_and_resize(images.float(), self.random_crop, numbers[:, CROP])
        if self.flip:
            images = torch.where((numbers[:, FLIP] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
        if self.shift:
            images = shift_images(images, self.shift, numbers[:, SHIFT], self.shift_padding)
        if self.color_jitter:
            images = jitter_colors(images.float(), self.color_jitter, numbers[:, JITTER])
        if self.cutout:
            images = fill_mask(images, square_masks(images.shape[-2:], self.cutout, numbers[:, CUTOUT]), blank)
        if self.random_erasing:
            images = fill_mask(images, box_masks(images.shape[-2:], self.random_erasing, numbers[:, ERASE]), blank)
        return images

    def __bool__(self) -> bool:
        return self != Augmentation(shift_padding=self.shift_padding)

    def describe(self) -> str:
        """Describe the augmentation, such as `flip, shift by 2 px`."""
        words = [f"random crop of at least {self.random_crop:g}"] * (self.random_crop < 1) + ["flip"] * self.flip
        words += [f"shift by {self.shift} px{' (reflected)' * (self.shift_padding == 'reflect')}"] * bool(self.shift)
        words += [f"color jitter {self.color_jitter:g}"] * bool(self.color_jitter)
        words += [f"cutout of {self.cutout} px"] * bool(self.cutout)
        return ", ".join(words + [f"random erasing {self.random_erasing:g}"] * bool(self.random_erasing)) or "none"


def shift_images(images: Tensor, max_shift: int, numbers: Tensor, shift_padding: ShiftPadding = "black") -> Tensor:
    """Shift each image by its own whole number of pixels between -max_shift and max_shift, down and across."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (max_shift,) * 4) if shift_padding == "black" else pad_by_reflection(images, max_shift)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2 max_shift + 1, 2 max_shift + 1, H, W), a view
    down, across = (numbers * (2 * max_shift + 1)).long().unbind(1)
    return windows[torch.arange(len(images), device=images.device), :, down, across]


def pad_by_reflection(images: Tensor, padding: int) -> Tensor:
    """Pad images of any type on all sides by reflection at their outermost pixels."""

    def reflected_indices(length: int) -> Tensor:
        indices = torch.arange(-padding, length + padding, device=images.device).abs()
        return (length - 1) - ((length - 1) - indices).abs()

    return images[:, :, reflected_indices(images.shape[2])][..., reflected_indices(images.shape[3])]


def crop_and_resize(images: Tensor, min_area: float, numbers: Tensor) -> Tensor:
    """Crop a box of `min_area` to all of each image's area and 3:4 to 4:3, and scale it to the image's size."""
    area, ratio, across, down = numbers.unbind(1)
    area = min_area + (1 - min_area) * area
    stretch = ((2 * ratio - 1) * math.log(4 / 3)).exp().sqrt()
    root = area.sqrt()
    stretch = stretch.clamp(root, 1 / root)  # inside the image, with the same area
    width, height = root * stretch, root / stretch
    x, y = (2 * across - 1) * (1 - width), (2 * down - 1) * (1 - height)  # of its centre, in -1 to 1
    zero = torch.zeros_like(width)
    boxes = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
    grid = F.affine_grid(boxes, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter_colors(images: Tensor, strength: float, numbers: Tensor) -> Tensor:
    """Multiply brightness, then contrast, then saturation of each image by a random factor each."""
    bright, contrast, saturation = ((1 - strength + 2 * strength * numbers).view(-1, 3, 1, 1, 1)).unbind(1)
    images = (images * bright).clamp(0, 255)
    mean = to_grey(images).mean((2, 3), keepdim=True)
    images = ((images - mean) * contrast + mean).clamp(0, 255)
    grey = to_grey(images)
    return ((images - grey) * saturation + grey).clamp(0, 255) if images.shape[1] == 3 else images


def to_grey(images: Tensor) -> Tensor:
    """Convert images (N, 3, H, W) to grey (N, 1, H, W); grey images stay as they are."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return images[:, :1] * LUMA_WEIGHTS[0] + images[:, 1:2] * LUMA_WEIGHTS[1] + images[:, 2:] * LUMA_WEIGHTS[2]


def fill_mask(images: Tensor, mask: Tensor, blank: Sequence[float]) -> Tensor:
    """Set the pixels of the mask (N, 1, H, W) to `blank`, by channel."""
    channels = [images.new_full((), round(value) if not images.is_floating_point() else value) for value in blank]
    return torch.where(mask, torch.stack(channels).view(-1, 1, 1), images)


def square_masks(size: Sequence[int], side: int, numbers: Tensor) -> Tensor:
    """Return a mask (N, 1, H, W) of one square in each image; its centre is anywhere, so the edge may cut it."""
    starts = [(draw * length).long() - side // 2 for length, draw in zip(size, numbers.unbind(1), strict=True)]
    return rectangle_masks(size, starts, [torch.full_like(start, side) for start in starts])


def box_masks(size: Sequence[int], fraction: float, numbers: Tensor) -> Tensor:
    """Return a mask (N, 1, H, W) of one box in a fraction of the images: 2 % to 33 % of the area, 3:10 to 10:3."""
    chosen, area, ratio, down, across = numbers.unbind(1)
    root = (0.02 + 0.31 * area).sqrt()
    stretch = ((2 * ratio - 1) * math.log(10 / 3)).exp().sqrt()
    sides = [(root * size[0] * stretch).clamp(max=size[0]), (root * size[1] / stretch).clamp(max=size[1])]
    starts = [(draw * (length - side)).long() for draw, length, side in zip((down, across), size, sides, strict=True)]
    return rectangle_masks(size, starts, [side.round().long() for side in sides]) & (chosen < fraction).view(
        -1, 1, 1, 1
    )


def rectangle_masks(size: Sequence[int], starts: Sequence[Tensor], sides: Sequence[Tensor]) -> Tensor:
    """Return a mask (N, 1, H, W) of one rectangle in each image, by its starts and sides, down and across."""
    lines = []
    for length, start, side in zip(size, starts, sides, strict=True):
        offset = torch.arange(length, device=start.device) - start[:, None]
        lines.append((offset >= 0) & (offset < side[:, None]))
    return (lines[0][:, :, None] & lines[1][:, None, :])[:, None]
