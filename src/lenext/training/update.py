"""The update: everything between a loss and changed weights."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import TrainingError
from lenext.training.ema import ExponentialMovingAverage
from lenext.training.optimizers import build_optimizers, has_gradients, restore_optimizer, snapshot_optimizer
from lenext.training.settings import OptimizerSettings


class NotFiniteError(TrainingError):
    """A loss or a gradient is infinite or no number; it has changed nothing.

    Attributes:
        since_start: Whether it may have happened at any step since the beginning of the epoch.
    """

    def __init__(self, message: str = "", *, since_start: bool = False) -> None:
        super().__init__(message)
        self.since_start = since_start


class Update:
    """Backward pass, gradient accumulation, scaling for fp16, clipping, the optimizers' step, the averaged weights.

    Numbers that are not finite never change the weights. With fp16 such an update is skipped and counted, as the scale
    was too large. Otherwise training has to end: a CPU is asked at each step; on an NVIDIA GPU, where asking would wait
    for it, the update is masked, and `check` asks.
    """

    def __init__(self, network: nn.Module, settings: OptimizerSettings, compute: Compute) -> None:
        self.optimizers = build_optimizers(network, settings, compute)
        self.average = ExponentialMovingAverage(network, settings.ema_decay) if settings.ema_decay else None
        self.max_norm = settings.gradient_clip
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.masks = compute.device.type == "cuda" and not self.scaler.is_enabled()
        self.unit_scale = torch.ones((), device=compute.device)
        self.bad = torch.zeros((), device=compute.device)  # above 0: something of this update is not finite
        self.skipped = torch.zeros((), device=compute.device)  # updates since this was last asked for

    def __call__(self, loss: Tensor, learning_rate: float, share: float = 1.0, ends_update: bool = True) -> None:
        """Add the gradients of a batch, and change the weights when its update ends.

        Args:
            loss: Of the batch.
            learning_rate: Of the update.
            share: Of the batch in its update.
            ends_update: Whether the update comes after this batch.

        Raises:
            NotFiniteError: Before anything is changed.
        """
        value = loss.detach()
        if self.masks:
            self.bad.copy_(torch.maximum(self.bad, (~torch.isfinite(value)).float()))
        elif not self.scaler.is_enabled() and not math.isfinite(value.item()):
            raise NotFiniteError(f"the loss became {value.item()}")
        self.scaler.scale(loss if share == 1 else loss * share).backward()
        if ends_update:
            self.step(learning_rate)

    def step(self, learning_rate: float) -> None:
        """Change the weights by the gradients."""
        active = [optimizer for optimizer in self.optimizers if has_gradients(optimizer)]  # a frozen stem has none
        for optimizer in active:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            self.scaler.unscale_(optimizer)
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if gradients:  # GradScaler's own check, in one pass
            torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.bad, self.unit_scale)
        if self.masks or self.scaler.is_enabled():
            self.skipped += self.bad
        elif self.bad.item():
            raise NotFiniteError("a gradient is no longer finite")
        if self.max_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        for optimizer in active:
            if self.masks:  # the optimizers leave the weights alone where this is 1: no waiting for the device
                setattr(optimizer, "found_inf", self.bad)  # noqa: B010
            self.scaler.step(optimizer)
        self.scaler.update()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.bad.zero_()
        if self.average:
            self.average.update()

    def check(self) -> int:
        """Return the number of updates skipped since the last call; waits for the device.

        Raises:
            NotFiniteError: Updates were skipped without fp16.
        """
        skipped = int(self.skipped.item())
        self.skipped.zero_()
        if skipped and self.masks:
            raise NotFiniteError(
                f"{skipped} updates were left out, as the loss or a gradient was not finite", since_start=True
            )
        return skipped

    def first_not_finite(self) -> str:
        """Return the first part of the optimizers' state that is not finite, in words; empty when all is finite."""
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for name, value in state.items():
                    if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                        return f"{name} of a weight of {' x '.join(map(str, value.shape))}"
        return ""

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next update depends on, by position among the parameters; the tensors are live."""
        gradients = {
            str(position): parameter.grad
            for position, parameter in enumerate(self.parameters)
            if parameter.grad is not None
        }
        return {
            "optimizers": [snapshot_optimizer(optimizer) for optimizer in self.optimizers],
            "gradients": gradients,
            "scaler": self.scaler.state_dict(),
            "bad": self.bad,
            "skipped": self.skipped,
            "average": self.average.snapshot() if self.average else None,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a snapshot. Raises ValueError, KeyError or RuntimeError when it does not fit."""
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            restore_optimizer(optimizer, state)
        if unknown := saved["gradients"].keys() - {str(position) for position in range(len(self.parameters))}:
            raise KeyError(f"a gradient of parameter {sorted(unknown)[0]}")
        for position, parameter in enumerate(self.parameters):
            gradient = saved["gradients"].get(str(position))
            parameter.grad = None if gradient is None else torch.empty_like(parameter).copy_(gradient)
        self.scaler.load_state_dict(saved["scaler"])
        self.bad.copy_(saved["bad"])
        self.skipped.copy_(saved["skipped"])
        if (self.average is None) != (saved["average"] is None):
            raise ValueError("averaged weights on one side only")
        if self.average:
            self.average.restore(saved["average"])
