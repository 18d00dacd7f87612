"""The optimizer, its learning rate as a pure function of the step, and the update that a loss leads to."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute
from lenext.training.recipe import Recipe


def initialize(network: nn.Module, method: str) -> None:
    """Draw the weights of convolutions and dense layers anew; biases and norms stay as they are.

    xavier: uniform (Glorot & Bengio 2010), as D1 and D4 have it. kaiming: normal (He et al., arXiv:1502.01852).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if method == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def build_optimizer(network: nn.Module, recipe: Recipe, compute: Compute) -> torch.optim.Optimizer:
    """The recipe's optimizer over all that can learn; norms and biases (one dimension) are spared the weight decay."""
    recipe = recipe.settled()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [one for one in learning if one.ndim > 1 or recipe.decay_norms_and_biases]
    spared = [one for one in learning if not (one.ndim > 1 or recipe.decay_norms_and_biases)]
    decays = ((decayed, recipe.weight_decay), (spared, 0.0))
    groups: list[dict[str, Any]] = [{"params": some, "weight_decay": decay} for some, decay in decays if some]
    common: dict[str, Any] = {"lr": recipe.learning_rate, "fused": compute.device.type in ("cpu", "cuda")}
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), **common)
    return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov is True, **common)


def learning_rate(recipe: Recipe, step: int, steps: int, steps_per_epoch: int) -> float:
    """The rate of update `step` of `steps`, counted from 0.

    one_cycle: up from 1/25 of it within the first 30 %, then down to nearly nothing (Smith & Topin, arXiv:1708.07120).
    cosine: down to nothing (Loshchilov & Hutter, arXiv:1608.03983). Before these, a linear rise over the warm-up.
    """
    rate = recipe.learning_rate
    top = float(recipe.settled().learning_rate if rate == "auto" else rate)
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return top * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return top
    if recipe.schedule == "cosine":
        return top * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
    start, end, summit = top / 25, top / 25 / 1e4, 0.3 * steps - 1
    if step <= summit:
        return between(start, top, step / summit if summit else 1.0)
    return between(top, end, (step - summit) / (steps - 1 - summit) if steps - 1 > summit else 1.0)


def between(start: float, end: float, share: float) -> float:
    """Along half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class Update:
    """Everything between a loss and changed weights: gradient, scaling for fp16, clipping, the optimizer's step."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, compute: Compute) -> None:
        self.optimizer, self.clip = optimizer, recipe.gradient_clip
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.masks = compute.device.type == "cuda" and not self.scaler.is_enabled()

    def __call__(self, loss: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.scale(loss).backward()
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if self.masks:  # a fused optimizer leaves the weights alone where this is 1: no waiting for the device
            setattr(self.optimizer, "found_inf", (~torch.isfinite(loss.detach())).float())  # noqa: B010
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
