"""Facts about modules: whether they keep something of a forward pass, draw random numbers, or are being traced."""

import torch
from torch import nn

RANDOM_LAYERS = (nn.RReLU, nn.FractionalMaxPool2d, nn.MultiheadAttention)
KNOWN_PACKAGES = ("torch.nn.", "lenext.models.", "lenext.acceleration.")


def is_stateless(module: nn.Module) -> bool:
    """Return whether a module is known to keep nothing of a forward pass in evaluation mode."""
    return f"{type(module).__module__}.".startswith(KNOWN_PACKAGES)


def draws_at_random(module: nn.Module) -> bool:
    """Return whether a module draws random numbers in training mode: dropout, stochastic depth and their like."""
    rate = getattr(module, "p" if "Dropout" in type(module).__name__ else "drop_path", 0)
    return isinstance(module, RANDOM_LAYERS) or (isinstance(rate, int | float) and rate > 0)


def is_traced() -> bool:
    """Return whether a compiler or a tracer records the operations, for which layers stay torch's own."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
