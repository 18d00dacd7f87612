"""The networks by name. A network to add: one file with its VARIANTS, and its names in FAMILIES."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lenext.foundation.errors import ConfigurationError, unknown

if TYPE_CHECKING:
    from torch import nn

    from lenext.models.variant import Variant

FAMILIES = {
    "lenet": ("lenet", "lenet5", "lenet5_skip"),
    "resnet": ("resnet18", "resnet34", "resnet50", "resnet18_32px"),
}

MODELS = {name: family for family, names in FAMILIES.items() for name in names}


def find_variant(name: str) -> Variant:
    """The Variant of this name. Raises ConfigurationError with the nearest name where there is none."""
    if name not in MODELS:
        raise ConfigurationError(f"{unknown('network', name, MODELS)} A network of your own is given as FILE.py:Class")
    return import_module(f"lenext.models.{MODELS[name]}").VARIANTS[name]


def create(name: str, **options: Any) -> nn.Module:
    """Build a network: images (N, C, H, W) to logits (N, K).

    options: `in_channels`, `num_classes` and what else the variant's constructor takes by name (see
    `find_variant(name).parameters()`); what is left out is as the variant has it. The weights are drawn from torch's
    global generator: call `torch.manual_seed` first for the same ones again.
    Raises ConfigurationError for a name or an option that does not exist.
    """
    chosen = find_variant(name)
    return chosen.build(**chosen.checked(name, options))
