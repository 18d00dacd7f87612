"""The optimizer, its learning rate as a pure function of the step, and the update that a loss leads to."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import TrainingError
from lenext.models.initialization import has_trainable_weight, initialize_identity
from lenext.models.pretrained import find_head
from lenext.training.muon import Muon
from lenext.training.recipe import Recipe


class NotFiniteError(TrainingError):
    """A loss or a gradient that is no number, or infinite; nothing was changed by it."""


def initialize(network: nn.Module, method: str) -> None:
    """Draw the weights of convolutions and dense layers anew; biases and norms stay as they are.

    xavier: uniform (Glorot & Bengio 2010), as D1 and D4 have it. kaiming: normal (He et al., arXiv:1502.01852).
    identity: convolutions alone, which begin by passing their first channels on (Jordan, arXiv:2404.00498).
    """
    if method == "identity":
        initialize_identity(network)
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and has_trainable_weight(module):
            if method == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def build_optimizers(network: nn.Module, recipe: Recipe, compute: Compute) -> list[torch.optim.Optimizer]:
    """The recipe's optimizer over all that can learn; norms and biases (one dimension) are spared the weight decay.

    muon: for weights of two and more dimensions but the last layer's; the rest goes with AdamW at the same rate.
    """
    recipe = recipe.with_defaults()
    learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if recipe.optimizer != "muon":
        return [plain_optimizer(recipe.optimizer, list(learning.values()), recipe, compute)]
    weighted = any(isinstance(module, nn.Linear | nn.Conv2d) for module in network.modules())
    head = find_head(network) if weighted else ""
    matrices = [one for name, one in learning.items() if one.ndim > 1 and name != f"{head}.weight"]
    taken = {id(one) for one in matrices}
    rest = [one for one in learning.values() if id(one) not in taken]
    fast = compute.device.type != "cpu" or compute.precision == "bf16"
    dtype = torch.bfloat16 if fast else torch.float32
    rate, decay = float(recipe.learning_rate), float(recipe.weight_decay)
    found: list[torch.optim.Optimizer] = []
    if matrices:
        given = {
            "newton_schulz_steps": recipe.newton_schulz_steps,
            "keep_weight_norms": recipe.keep_weight_norms,
            "dtype": dtype,
        }
        found.append(Muon(matrices, rate, decay, recipe.momentum, **given))  # type: ignore[arg-type]
    return [*found, plain_optimizer("adamw", rest, recipe, compute)] if rest else found


def plain_optimizer(
    name: str, learning: Sequence[nn.Parameter], recipe: Recipe, compute: Compute
) -> torch.optim.Optimizer:
    """SGD or AdamW over these, norms and biases without weight decay."""
    alike = recipe.decay_norms_and_biases or recipe.weight_decay == 0
    decayed = [one for one in learning if one.ndim > 1 or alike]
    spared = [one for one in learning if not (one.ndim > 1 or alike)]
    decays = ((decayed, recipe.weight_decay), (spared, 0.0))
    groups: list[dict[str, Any]] = [{"params": some, "weight_decay": decay} for some, decay in decays if some]
    common: dict[str, Any] = {"lr": recipe.learning_rate, "fused": compute.device.type in ("cpu", "cuda")}
    if name == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), **common)
    return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterov is True, **common)


def learning_rate(recipe: Recipe, step: int, steps: int, steps_per_epoch: int) -> float:
    """The rate of update `step` of `steps`, counted from 0.

    one_cycle: up from 1/25 of it within the first 30 %, then down to nearly nothing (Smith & Topin, arXiv:1708.07120).
    cosine, linear: down to nothing (Loshchilov & Hutter, arXiv:1608.03983, for the cosine). Before these, a linear rise
    over the warm-up.
    """
    rate = recipe.learning_rate
    top = float(recipe.with_defaults().learning_rate if rate == "auto" else rate)
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return top * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return top
    if recipe.schedule == "linear":
        return top * ((steps - step) / (steps - warmup))
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
    """Everything between a loss and changed weights: gradients summed up over batches, scaling for fp16, clipping, the
    optimizers' step, the averaged weights.

    No update is made of numbers that are not finite. With fp16 it is left out, and counted, as the scale was too large.
    Elsewhere training has to end: a CPU is asked at each step; on an NVIDIA GPU, where asking would wait for it, the
    update is masked there, and `check` asks.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, compute: Compute) -> None:
        self.optimizers = build_optimizers(network, recipe, compute)
        self.average = Average(network, recipe.ema_decay) if recipe.ema_decay else None
        self.clip = recipe.gradient_clip
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.masks = compute.device.type == "cuda" and not self.scaler.is_enabled()
        self.one = torch.ones((), device=compute.device)
        self.bad = torch.zeros((), device=compute.device)  # above 0: something of this update is not finite
        self.count = torch.zeros((), device=compute.device)  # updates left out since this was last asked for

    def __call__(self, loss: Tensor, rate: float, share: float = 1.0, due: bool = True) -> None:
        """Take in a batch's loss. share: of it in the update; due: whether the update comes now, or after more.

        Raises NotFiniteError before anything is changed.
        """
        value = loss.detach()
        if self.masks:
            self.bad.copy_(torch.maximum(self.bad, (~torch.isfinite(value)).float()))
        elif not self.scaler.is_enabled() and not math.isfinite(value.item()):
            raise NotFiniteError(f"the loss became {value.item()}")
        self.scaler.scale(loss if share == 1 else loss * share).backward()
        if due:
            self.step(rate)

    def step(self, rate: float) -> None:
        """Change the weights by the gradients there are."""
        acting = [one for one in self.optimizers if has_gradients(one)]  # a held stem may be all that one has
        for optimizer in acting:
            for group in optimizer.param_groups:
                group["lr"] = rate
            self.scaler.unscale_(optimizer)
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if grads:
            torch._amp_foreach_non_finite_check_and_unscale_(grads, self.bad, self.one)  # GradScaler's own, in one pass
        if self.masks or self.scaler.is_enabled():
            self.count += self.bad
        elif self.bad.item():
            raise NotFiniteError("a gradient is no longer finite")
        if self.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimizer in acting:
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
        """How many updates were left out since the last call; waits for the device. Raises NotFiniteError
        where they may not be."""
        left_out = int(self.count.item())
        self.count.zero_()
        if left_out and self.masks:
            raise NotFiniteError(f"{left_out} updates were left out, as the loss or a gradient was not finite")
        return left_out

    def lost(self) -> str:
        """The first of what the optimizers keep that is not finite, in words; empty where all is."""
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for name, value in state.items():
                    if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                        return f"{name} of a weight of {' x '.join(map(str, value.shape))}"
        return ""

    def snapshot(self) -> dict[str, Any]:
        """All that the next update depends on, by position among the parameters; the tensors are the live ones."""
        return {
            "optimizers": [by_position(optimizer) for optimizer in self.optimizers],
            "gradients": {str(at): one.grad for at, one in enumerate(self.parameters) if one.grad is not None},
            "scaler": self.scaler.state_dict(),
            "bad": self.bad,
            "count": self.count,
            "average": self.average.snapshot() if self.average else None,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what `snapshot` gave; raises ValueError, KeyError or RuntimeError where that does not fit."""
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            restore_optimizer(optimizer, state)
        if strangers := saved["gradients"].keys() - {str(at) for at in range(len(self.parameters))}:
            raise KeyError(f"a gradient of parameter {sorted(strangers)[0]}")
        for at, parameter in enumerate(self.parameters):
            grad = saved["gradients"].get(str(at))
            parameter.grad = None if grad is None else torch.empty_like(parameter).copy_(grad)
        self.scaler.load_state_dict(saved["scaler"])
        self.bad.copy_(saved["bad"])
        self.count.copy_(saved["count"])
        if (self.average is None) != (saved["average"] is None):
            raise ValueError("averaged weights on one side only")
        if self.average:
            self.average.restore(saved["average"])


def has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has anything to do."""
    return any(one.grad is not None for group in optimizer.param_groups for one in group["params"])


def by_position(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimizer keeps of each of its parameters, in their order."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    return [dict(optimizer.state[one]) if one in optimizer.state else {} for one in parameters]


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, states: Sequence[Mapping[str, Any]]) -> None:
    """Give an optimizer what `by_position` told of it; as torch's own `load_state_dict`, but tensors of a parameter's
    shape lie in memory as it does, on which speed depends."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
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


class Average:
    """The exponential moving average of a network's weights and statistics, as a network of its own.

    Early on it forgets faster: the decay is at most (1 + updates) / (10 + updates).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.updates = decay, 0
        ours, theirs = self.network.state_dict().values(), network.state_dict().values()
        pairs = list(zip(ours, theirs, strict=True))
        self.ours = [one for one, _ in pairs if one.is_floating_point()]
        self.theirs = [other for _, other in pairs if other.is_floating_point()]
        self.counts = [(one, other) for one, other in pairs if not one.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.ours, self.theirs, 1 - decay)
        for ours, theirs in self.counts:
            ours.copy_(theirs)

    def snapshot(self) -> dict[str, Any]:
        return {"network": dict(self.network.state_dict()), "updates": self.updates}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.updates = int(saved["updates"])
