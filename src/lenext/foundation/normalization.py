"""How pixels become numbers for a network: it belongs to the data, never to a network's forward pass."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """By channel, (pixel / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_scaling(cls, scaling: str, channels: int) -> "Normalization":
        """Scalings that look at no data: `unit` to [0, 1], `symmetric` to [-1, 1], `raw` leaves 0 to 255."""
        mean, std = {"unit": (0.0, 1.0), "symmetric": (0.5, 0.5), "raw": (0.0, 1 / 255)}[scaling]
        return cls((mean,) * channels, (std,) * channels)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) of 0 to 255 in any type to float32 of the same shape."""
        shift, scale = constants(self, pixels.device)
        return torch.addcmul(shift, pixels.float(), scale)


@lru_cache(64)
def constants(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    """What is added to a pixel and what it is multiplied by, (C, 1, 1); copied to a device once, not at every batch."""
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    with torch.inference_mode(False):
        return (-mean / std).view(-1, 1, 1).to(device), (1 / (255 * std)).view(-1, 1, 1).to(device)
