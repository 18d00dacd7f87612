"""Normalization of pixels. It belongs to the data, never to a network's forward pass."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """Normalization by channel: (pixel / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_scaling(cls, scaling: str, channels: int) -> "Normalization":
        """Return a scaling that looks at no data: `unit` to [0, 1], `symmetric` to [-1, 1], `raw` to [0, 255]."""
        mean, std = {"unit": (0.0, 1.0), "symmetric": (0.5, 0.5), "raw": (0.0, 1 / 255)}[scaling]
        return cls((mean,) * channels, (std,) * channels)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalize pixels (N, C, H, W) of 0 to 255, of any type, to float32 of the same shape."""
        shift, scale = shift_and_scale(self, pixels.device)
        return torch.addcmul(shift, pixels.float(), scale)


@lru_cache(64)
def shift_and_scale(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the summand and the factor of pixels, (C, 1, 1); cached, so that a device is sent them only once."""
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    with torch.inference_mode(False):
        return (-mean / std).view(-1, 1, 1).to(device), (1 / (255 * std)).view(-1, 1, 1).to(device)
