"""The networks by name. A network to add: one file with its VARIANTS, and its names in FAMILIES."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lenext.foundation.errors import ConfigurationError, unknown

if TYPE_CHECKING:
    from torch import nn

    from lenext.models.variant import Variant

FAMILIES = {
    "lenet": ("lenet", "lenet5", "lenet5_skip", "lenet_32px"),
    "alexnet": ("alexnet", "alexnet_d2l", "alexnet_d2l_wide", "alexnet_32px"),
    "vgg": (
        "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
        "vgg11_quarter", "vgg11_32px",
    ),
    "nin": ("nin", "nin_32px"),
    "googlenet": ("googlenet", "googlenet_paper", "googlenet_32px"),
    "resnet": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2", "resnet18_d2l", "resnet18_32px",
    ),
    "densenet": ("densenet121", "densenet161", "densenet169", "densenet201", "densenet_d2l", "densenet_32px"),
    "convnext": (
        "convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "convnext_patch4",
        "convnext_patch4_corrected", "convnext_32px",
    ),
}  # fmt: skip

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
    checked = chosen.checked(name, options)
    try:
        return chosen.build(**checked)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        given = ", ".join(f"{key}={value}" for key, value in checked.items())
        raise ConfigurationError(f"{name} cannot be built with {given}: {error}") from error
