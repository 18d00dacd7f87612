"""Selective data: an epoch takes the training images that were hardest when they were last seen.

As of selective backprop (Jiang et al., arXiv:1910.00762) and the data filtering of airbench96 (Jordan 2024), but
without a pass of its own, nor a second network: the losses are those of training, as they come.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lenext.foundation.seeds import generator

HARDNESS = 3  # the position of these draws among those of an epoch


@dataclass
class Selection:
    """losses: cross-entropy (N,) of each training image when it was last seen, infinite before that. rows: those of
    the epoch that has begun. Both on the CPU but for losses, which are where training computes."""

    losses: Tensor
    rows: Tensor

    @classmethod
    def begin(cls, count: int, device: torch.device) -> "Selection":
        return cls(torch.full((count,), torch.inf, device=device), torch.arange(0))

    def choose(self, count: int, seed: int, epoch: int) -> None:
        """Take `count` images for an epoch: those never seen, then those of the largest loss; equals by chance."""
        order = torch.randperm(len(self.losses), generator=generator(seed, epoch, HARDNESS))
        hardest = self.losses.cpu()[order].argsort(descending=True, stable=True)
        self.rows = order[hardest[:count]].sort().values

    def note(self, places: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take in what the network answered for the images at these places among `rows`."""
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        self.losses[self.rows[places].to(self.losses.device)] = losses.to(self.losses.dtype)

    def snapshot(self) -> dict[str, Any]:
        return {"losses": self.losses, "rows": self.rows}

    @classmethod
    def of(cls, saved: Mapping[str, Any] | None, device: torch.device) -> "Selection | None":
        """What `snapshot` gave. Raises ValueError where its parts do not fit together."""
        if saved is None:
            return None
        losses, rows = saved["losses"].to(device), saved["rows"].cpu()
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(losses):
            raise ValueError(f"rows up to {int(rows.max())} of {len(losses)} images")
        return cls(losses, rows)
