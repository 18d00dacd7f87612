"""The optimizers, and their state in a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute
from lenext.models.pretrained import find_head
from lenext.training.muon import Muon
from lenext.training.settings import OptimizerSettings


def build_optimizers(network: nn.Module, settings: OptimizerSettings, compute: Compute) -> list[torch.optim.Optimizer]:
    """Return the optimizers of all parameters that learn.

    Muon takes the weights of two and more dimensions but the last layer's; AdamW takes the others at the same rate.
    """
    learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if settings.name != "muon":
        return [build_optimizer(settings.name, list(learning.values()), settings, compute)]
    has_weights = any(isinstance(module, nn.Linear | nn.Conv2d) for module in network.modules())
    last_weight = f"{find_head(network)}.weight" if has_weights else ""
    matrices = [parameter for name, parameter in learning.items() if parameter.ndim > 1 and name != last_weight]
    of_muon = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in learning.values() if id(parameter) not in of_muon]
    has_fast_bf16 = compute.device.type != "cpu" or compute.precision == "bf16"
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        muon = Muon(
            matrices,
            settings.learning_rate,
            settings.weight_decay,
            settings.momentum,
            newton_schulz_steps=settings.newton_schulz_steps,
            keep_weight_norms=settings.keep_weight_norms,
            dtype=torch.bfloat16 if has_fast_bf16 else torch.float32,
        )
        optimizers.append(muon)
    return [*optimizers, build_optimizer("adamw", rest, settings, compute)] if rest else optimizers


def build_optimizer(
    name: str, parameters: Sequence[nn.Parameter], settings: OptimizerSettings, compute: Compute
) -> torch.optim.Optimizer:
    """Return SGD or AdamW; norms and biases (one dimension) have no weight decay unless the settings say so."""
    decays_all = settings.decay_norms_and_biases or settings.weight_decay == 0
    decayed = [parameter for parameter in parameters if parameter.ndim > 1 or decays_all]
    spared = [parameter for parameter in parameters if not (parameter.ndim > 1 or decays_all)]
    groups: list[dict[str, Any]] = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((decayed, settings.weight_decay), (spared, 0.0))
        if members
    ]
    common: dict[str, Any] = {"lr": settings.learning_rate, "fused": compute.device.type in ("cpu", "cuda")}
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=(settings.momentum, 0.999), **common)
    return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov, **common)


def has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer has anything to do."""
    return any(parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"])


def snapshot_optimizer(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the state that an optimizer keeps for each of its parameters, in their order."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [dict(optimizer.state[key]) if key in optimizer.state else {} for key in parameters]


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, states: Sequence[Mapping[str, Any]]) -> None:
    """Restore the state of a snapshot.

    Unlike torch's `load_state_dict`, tensors of a parameter's shape get its memory layout, on which speed depends.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, saved in zip(parameters, states, strict=True):
        state: dict[str, Any] = {}
        for name, value in saved.items():
            if isinstance(value, Tensor) and value.ndim:
                if value.shape != parameter.shape:
                    raise ValueError(f"{name} is {tuple(value.shape)}, for a parameter of {tuple(parameter.shape)}")
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            elif isinstance(value, Tensor | int | float | None):
                state[name] = value.to(parameter.device) if isinstance(value, Tensor) else value
            else:
                raise TypeError(f"{name} is {value!r}")
        optimizer.state[parameter] = state
