"""The exponential moving average (EMA) of a network's weights."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class ExponentialMovingAverage:
    """The moving average of a network's weights and statistics, as a separate network.

    Early on it forgets faster: the decay is at most (1 + updates) / (10 + updates).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.updates = decay, 0
        averages, weights = self.network.state_dict().values(), network.state_dict().values()
        pairs = list(zip(averages, weights, strict=True))
        self.averages = [average for average, _ in pairs if average.is_floating_point()]
        self.weights = [weight for _, weight in pairs if weight.is_floating_point()]
        self.counts = [(average, count) for average, count in pairs if not average.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Add the network's present weights to the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.averages, self.weights, 1 - decay)
        for copied, count in self.counts:
            copied.copy_(count)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {"network": dict(self.network.state_dict()), "updates": self.updates}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a snapshot."""
        self.network.load_state_dict(saved["network"])
        self.updates = int(saved["updates"])
