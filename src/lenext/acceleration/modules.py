"""Modules that are known to be safe to run in several threads."""

from torch import nn

KNOWN_PACKAGES = ("torch.nn.", "lenext.models.", "lenext.acceleration.")


def is_stateless(module: nn.Module) -> bool:
    """Return whether a module is known to keep nothing of a forward pass in evaluation mode."""
    return f"{type(module).__module__}.".startswith(KNOWN_PACKAGES)
