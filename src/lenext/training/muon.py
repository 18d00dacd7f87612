"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum with orthogonal updates."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the odd polynomial that draws singular values towards 1


def orthogonal(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return matrices (N, rows, columns) with all singular values near 1, by a Newton-Schulz iteration of order 5."""
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    is_tall = x.shape[-2] > x.shape[-1]
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions; a convolution (O, I, H, W) is taken as a matrix (O, I x H x W).

    The learning rate is scaled by 0.2 times the root of the larger side, so that a step has the length of AdamW's, and
    AdamW's learning rates and weight decay can be used (Liu et al., arXiv:2502.16982). Weights of one shape are
    orthogonalized together.
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
        """Make the optimizer.

        Args:
            params: Weights, or groups of them.
            lr: Learning rate.
            weight_decay: Decoupled weight decay.
            momentum: Of the moving average of gradients.
            nesterov: Whether the update looks ahead.
            newton_schulz_steps: Iterations that orthogonalize an update.
            keep_weight_norms: Whether a weight is rescaled to its initial norm before each step, so that the learning
                rate is relative to it (Jordan 2024, airbench94_muon); for networks whose norms undo a weight's length.
            dtype: Of the iterations.
        """
        self.dtype, self.newton_schulz_steps, self.keep_weight_norms = dtype, newton_schulz_steps, keep_weight_norms
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change the weights; where training sets `found_inf` to 1, gradients count as zero and weights stay."""
        bad = getattr(self, "found_inf", None)
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(tuple(weight.shape), []).append(weight)
            for weights in by_shape.values():
                self.update(weights, group, bad)

    def update(self, weights: list[Tensor], group: dict[str, Any], bad: Tensor | None) -> None:
        """Change weights of one shape."""
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
        updates = orthogonal(torch.stack(moves), self.newton_schulz_steps, self.dtype)
        updates = updates if bad is None else updates * (1 - bad)
        length = 0.2 * max(rows, columns) ** 0.5
        for weight, move in zip(weights, updates.unbind(), strict=True):
            shrink = 1 - group["lr"] * group["weight_decay"]
            if self.keep_weight_norms:
                initial, norm = self.state[weight]["norm"], weight.norm()
                shrink = shrink * torch.where((initial > 0) & (norm > 0), initial / norm, 1.0)
            weight.mul_(shrink if bad is None else torch.where(bad > 0, 1.0, shrink))
            weight.sub_(move.view(weight.shape), alpha=group["lr"] * length)
