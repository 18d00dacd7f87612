"""How pixels become numbers for a network: it belongs to the data, never to a network's forward pass."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """By channel, (pixel / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fixed(cls, scaling: str, channels: int) -> "Normalization":
        """Scalings that look at no data: `unit` to [0, 1], `symmetric` to [-1, 1], `raw` leaves 0 to 255."""
        mean, std = {"unit": (0.0, 1.0), "symmetric": (0.5, 0.5), "raw": (0.0, 1 / 255)}[scaling]
        return cls((mean,) * channels, (std,) * channels)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) of 0 to 255 in any type to float32 of the same shape."""
        mean = torch.tensor(self.mean, device=pixels.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(-1, 1, 1)
        return torch.addcmul(-mean / std, pixels.float(), 1 / (255 * std))
