"""Augmentation of a whole batch at once, by numbers drawn beforehand: a pure function of its arguments.

Each picture has its own row of random numbers, so no choice is shared by a batch, and nothing is drawn here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 5  # random numbers a picture needs: flip, two for the shift, two for the cutout


@dataclass(frozen=True)
class Augmentation:
    """flip: mirror half of the pictures. shift: move by up to so many pixels each way, black comes in.
    cutout: blank one square of so many pixels (DeVries & Taylor, arXiv:1708.04552)."""

    flip: bool = False
    shift: int = 0
    cutout: int = 0

    def __call__(self, images: Tensor, numbers: Tensor, blank: Sequence[float]) -> Tensor:
        """uint8 pictures (N, C, H, W) with `numbers` (N, DRAWS) in [0, 1); a blank has the value `blank` by channel."""
        if self.flip:
            images = torch.where((numbers[:, 0] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
        if self.shift:
            images = shifted(images, self.shift, numbers[:, 1:3])
        if self.cutout:
            fill = torch.tensor(blank, device=images.device).round().to(images.dtype).view(-1, 1, 1)
            images = torch.where(squares(images.shape[-2:], self.cutout, numbers[:, 3:5]), fill, images)
        return images

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0 or self.cutout > 0

    def describe(self) -> str:
        """In words: `flip, shift by 2 px`."""
        words = ["flip"] * self.flip + [f"shift by {self.shift} px"] * bool(self.shift)
        return ", ".join(words + [f"cutout of {self.cutout} px"] * bool(self.cutout)) or "none"


def shifted(images: Tensor, most: int, numbers: Tensor) -> Tensor:
    """Each picture moved by its own whole number of pixels between -most and most, down and across."""
    height, width = images.shape[-2:]
    framed = F.pad(images, (most,) * 4)
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2 most + 1, 2 most + 1, H, W), a view
    down, across = (numbers * (2 * most + 1)).long().unbind(1)
    return windows[torch.arange(len(images), device=images.device), :, down, across]


def squares(size: Sequence[int], side: int, numbers: Tensor) -> Tensor:
    """A mask (N, 1, H, W) of one square in each picture; its centre is anywhere, so it may be cut by the edge."""
    masks = []
    for length, draw in zip(size, numbers.unbind(1), strict=True):
        start = (draw * length).long() - side // 2
        offset = torch.arange(length, device=numbers.device) - start[:, None]
        masks.append((offset >= 0) & (offset < side))
    return (masks[0][:, :, None] & masks[1][:, None, :])[:, None]
