"""Augmentation of a whole batch at once, by numbers drawn beforehand: a pure function of its arguments.

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
DRAWS_PER_IMAGE = 17  # random numbers an image has: the columns above
GREY = (0.299, 0.587, 0.114)  # the share of red, green and blue in a grey


@dataclass(frozen=True)
class Augmentation:
    """What is done to the training images, in this order.

    random_crop: least share of the area of a random box that is scaled to the whole image; 1 leaves it alone
    (Szegedy et al., arXiv:1409.4842). flip: mirror half of the images. shift: move by up to so many pixels each way;
    shift_padding: what comes in, black or the image's own edge, reflected. color_jitter: brightness, contrast and
    saturation times 1 - it to 1 + it. cutout: blank one square of so many pixels (DeVries & Taylor, arXiv:1708.04552).
    random_erasing: how often a random box is blanked (Zhong et al., arXiv:1708.04896).
    """

    flip: bool = False
    shift: int = 0
    cutout: int = 0
    random_crop: float = 1.0
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    shift_padding: ShiftPadding = "black"

    def __call__(self, images: Tensor, numbers: Tensor, blank: Sequence[float]) -> Tensor:
        """Images (N, C, H, W) of 0 to 255 with `numbers` (N, DRAWS) in [0, 1); a blank has the value `blank` by
        channel. Whole numbers stay whole, but under random_crop and color_jitter."""
        if self.random_crop < 1:
            images = cropped(images.float(), self.random_crop, numbers[:, CROP])
        if self.flip:
            images = torch.where((numbers[:, FLIP] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
        if self.shift:
            images = shifted(images, self.shift, numbers[:, SHIFT], self.shift_padding)
        if self.color_jitter:
            images = jittered(images.float(), self.color_jitter, numbers[:, JITTER])
        if self.cutout:
            images = filled(images, squares(images.shape[-2:], self.cutout, numbers[:, CUTOUT]), blank)
        if self.random_erasing:
            images = filled(images, boxes(images.shape[-2:], self.random_erasing, numbers[:, ERASE]), blank)
        return images

    def __bool__(self) -> bool:
        return self != Augmentation(shift_padding=self.shift_padding)

    def describe(self) -> str:
        """In words: `flip, shift by 2 px`."""
        words = [f"random crop of at least {self.random_crop:g}"] * (self.random_crop < 1) + ["flip"] * self.flip
        words += [f"shift by {self.shift} px{' (reflected)' * (self.shift_padding == 'reflect')}"] * bool(self.shift)
        words += [f"color jitter {self.color_jitter:g}"] * bool(self.color_jitter)
        words += [f"cutout of {self.cutout} px"] * bool(self.cutout)
        return ", ".join(words + [f"random erasing {self.random_erasing:g}"] * bool(self.random_erasing)) or "none"


def shifted(images: Tensor, most: int, numbers: Tensor, shift_padding: ShiftPadding = "black") -> Tensor:
    """Each image moved by its own whole number of pixels between -most and most, down and across."""
    height, width = images.shape[-2:]
    framed = F.pad(images, (most,) * 4) if shift_padding == "black" else reflected(images, most)
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2 most + 1, 2 most + 1, H, W), a view
    down, across = (numbers * (2 * most + 1)).long().unbind(1)
    return windows[torch.arange(len(images), device=images.device), :, down, across]


def reflected(images: Tensor, most: int) -> Tensor:
    """The images in a frame of so many pixels, which mirrors them at their outermost ones; of any type."""

    def places(length: int) -> Tensor:
        there = torch.arange(-most, length + most, device=images.device).abs()
        return (length - 1) - ((length - 1) - there).abs()

    return images[:, :, places(images.shape[2])][..., places(images.shape[3])]


def cropped(images: Tensor, least: float, numbers: Tensor) -> Tensor:
    """A box of each image, of `least` to all of its area and 3:4 to 4:3, scaled to the image's size."""
    area, ratio, across, down = numbers.unbind(1)
    area = least + (1 - least) * area
    stretch = ((2 * ratio - 1) * math.log(4 / 3)).exp().sqrt()
    root = area.sqrt()
    stretch = stretch.clamp(root, 1 / root)  # within the image, without losing area
    wide, tall = root * stretch, root / stretch
    left, top = (2 * across - 1) * (1 - wide), (2 * down - 1) * (1 - tall)  # of its centre, in -1 to 1
    zero = torch.zeros_like(wide)
    boxes = torch.stack([torch.stack([wide, zero, left], 1), torch.stack([zero, tall, top], 1)], 1)
    grid = F.affine_grid(boxes, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jittered(images: Tensor, most: float, numbers: Tensor) -> Tensor:
    """Brightness, then contrast, then saturation of each image times its own factor."""
    bright, contrast, saturation = ((1 - most + 2 * most * numbers).view(-1, 3, 1, 1, 1)).unbind(1)
    images = (images * bright).clamp(0, 255)
    mean = grey(images).mean((2, 3), keepdim=True)
    images = ((images - mean) * contrast + mean).clamp(0, 255)
    plain = grey(images)
    return ((images - plain) * saturation + plain).clamp(0, 255) if images.shape[1] == 3 else images


def grey(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W); grey images as they are."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return images[:, :1] * GREY[0] + images[:, 1:2] * GREY[1] + images[:, 2:] * GREY[2]


def filled(images: Tensor, mask: Tensor, blank: Sequence[float]) -> Tensor:
    """The images with `blank` where the mask (N, 1, H, W) is."""
    channels = [images.new_full((), round(value) if not images.is_floating_point() else value) for value in blank]
    return torch.where(mask, torch.stack(channels).view(-1, 1, 1), images)


def squares(size: Sequence[int], side: int, numbers: Tensor) -> Tensor:
    """A mask (N, 1, H, W) of one square in each image; its centre is anywhere, so it may be cut by the edge."""
    starts = [(draw * length).long() - side // 2 for length, draw in zip(size, numbers.unbind(1), strict=True)]
    return rectangles(size, starts, [torch.full_like(start, side) for start in starts])


def boxes(size: Sequence[int], share: float, numbers: Tensor) -> Tensor:
    """A mask (N, 1, H, W) of one box in a `share` of the images: 2 % to 33 % of the area, 3:10 to 10:3, within."""
    chosen, area, ratio, down, across = numbers.unbind(1)
    root = (0.02 + 0.31 * area).sqrt()
    stretch = ((2 * ratio - 1) * math.log(10 / 3)).exp().sqrt()
    sides = [(root * size[0] * stretch).clamp(max=size[0]), (root * size[1] / stretch).clamp(max=size[1])]
    starts = [(draw * (length - side)).long() for draw, length, side in zip((down, across), size, sides, strict=True)]
    return rectangles(size, starts, [side.round().long() for side in sides]) & (chosen < share).view(-1, 1, 1, 1)


def rectangles(size: Sequence[int], starts: Sequence[Tensor], sides: Sequence[Tensor]) -> Tensor:
    """A mask (N, 1, H, W) of one rectangle in each image, by where it begins and how long it is, down and across."""
    lines = []
    for length, start, side in zip(size, starts, sides, strict=True):
        offset = torch.arange(length, device=start.device) - start[:, None]
        lines.append((offset >= 0) & (offset < side[:, None]))
    return (lines[0][:, :, None] & lines[1][:, None, :])[:, None]
