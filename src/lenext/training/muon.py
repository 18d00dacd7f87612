"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum whose matrices are made orthogonal."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the odd polynomial that draws singular values towards 1


def orthogonal(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Matrices (N, rows, columns) with all singular values near 1, by a Newton-Schulz iteration of order 5."""
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    turned = x.shape[-2] > x.shape[-1]
    x = x.mT if turned else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions, a convolution (O, I, H, W) taken as a matrix (O, I x H x W).

    As the rate counts 0.2 times the root of the larger side, a step is as long as AdamW's, so that its learning
    rates and weight decay serve (Liu et al., arXiv:2502.16982). Weights of one shape are made orthogonal together.

    newton_schulz_steps: iterations that make a matrix orthogonal. keep_weight_norms: before each step a weight is
    scaled back to the length that it had at first, so that the rate is relative to it all the way (Jordan 2024,
    airbench94_muon). It is for networks whose norms undo a weight's length.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        newton_schulz_steps: int = 5,
        keep_weight_norms: bool = False,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.dtype, self.newton_schulz_steps, self.keep_weight_norms = dtype, newton_schulz_steps, keep_weight_norms
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update. Where training sets `found_inf` to 1, gradients count as nothing and weights stay."""
        bad = getattr(self, "found_inf", None)
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(tuple(weight.shape), []).append(weight)
            for weights in by_shape.values():
                self.update(weights, group, bad)

    def update(self, weights: list[Tensor], group: dict[str, Any], bad: Tensor | None) -> None:
        """Move weights of one shape."""
        moves = []
        for weight in weights:
            grad = weight.grad if bad is None else torch.where(bad > 0, 0.0, weight.grad)  # type: ignore[arg-type]
            assert grad is not None
            state = self.state[weight]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(grad)
                if self.keep_weight_norms:
                    state["norm"] = weight.norm()
            momentum = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
            move = grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
            moves.append(move.flatten(1).to(self.dtype))
        rows, columns = moves[0].shape
        found = orthogonal(torch.stack(moves), self.newton_schulz_steps, self.dtype)
        found = found if bad is None else found * (1 - bad)
        length = 0.2 * max(rows, columns) ** 0.5
        for weight, move in zip(weights, found.unbind(), strict=True):
            shrink = 1 - group["lr"] * group["weight_decay"]
            if self.keep_weight_norms:
                kept, now = self.state[weight]["norm"], weight.norm()
                shrink = shrink * torch.where((kept > 0) & (now > 0), kept / now, 1.0)
            weight.mul_(shrink if bad is None else torch.where(bad > 0, 1.0, shrink))
            weight.sub_(move.view(weight.shape), alpha=group["lr"] * length)
