"""Data selection: an epoch takes the training samples with the largest loss when last seen.

This is selective backprop (Jiang et al., arXiv:1910.00762) and the data filtering of airbench96 (Jordan 2024) without
an extra pass and without a second network: the losses are those of training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lenext.foundation.seeds import generator

SELECTION_SEED = 3  # the position of these draws among the random numbers of an epoch


@dataclass
class Selection:
    """The training samples that an epoch takes.

    Attributes:
        losses: Cross-entropy (N,) of each training sample when it was last seen, infinite before; on the device.
        rows: The rows (M,) of the current epoch, in the order of the training set; on the CPU.
    """

    losses: Tensor
    rows: Tensor

    @classmethod
    def begin(cls, count: int, device: torch.device) -> "Selection":
        """Return the selection of a training set of which nothing has been seen."""
        return cls(torch.full((count,), torch.inf, device=device), torch.arange(0))

    def choose(self, count: int, seed: int, epoch: int) -> None:
        """Choose the samples of an epoch: those never seen, then those with the largest loss; equals by chance."""
        order = torch.randperm(len(self.losses), generator=generator(seed, epoch, SELECTION_SEED))
        hardest = self.losses.cpu()[order].argsort(descending=True, stable=True)
        self.rows = order[hardest[:count]].sort().values

    def record_losses(self, rows: Tensor, losses: Tensor) -> None:
        """Keep the losses (N,) of a batch: rows (N,) of the training set."""
        self.losses[rows.to(self.losses.device)] = losses.to(self.losses.dtype)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {"losses": self.losses, "rows": self.rows}

    @classmethod
    def from_snapshot(cls, saved: Mapping[str, Any] | None, device: torch.device) -> "Selection | None":
        """Return the selection of a snapshot. Raises ValueError when its parts do not fit together."""
        if saved is None:
            return None
        losses, rows = saved["losses"].to(device), saved["rows"].cpu()
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(losses):
            raise ValueError(f"rows up to {int(rows.max())} of {len(losses)} images")
        return cls(losses, rows)
