"""The networks by name. A network to add: one file with its VARIANTS, and its names in FAMILIES."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import cache_folder, expand_path

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
    "airbench": ("airbench94",),
}  # fmt: skip

MODELS = {name: family for family, names in FAMILIES.items() for name in names}


def find_variant(name: str) -> Variant:
    """The Variant of this name. Raises ConfigurationError with the nearest name where there is none."""
    if name not in MODELS:
        raise ConfigurationError(
            unknown_name("network", name, MODELS, "A network of your own is given as FILE.py:Class")
        )
    return import_module(f"lenext.models.{MODELS[name]}").VARIANTS[name]


def create(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    data_dir: str | Path | None = None,
    offline: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a network: images (N, C, H, W) to logits (N, K).

    pretrained: True for the published ImageNet weights (fetched once, kept in `data_dir`/weights), or a file of
    weights. They want three channels; with other classes the last layer starts anew. Pixels must go in as
    `lenext.models.pretrained.normalization_of(name)` says.

    options: `in_channels`, `num_classes` and what else the variant's constructor takes by name (see
    `find_variant(name).parameters()`); what is left out is as the variant has it. The weights are drawn from torch's
    global generator: call `torch.manual_seed` first for the same ones again.
    Raises ConfigurationError for a name or an option that does not exist.
    """
    chosen = find_variant(name)
    checked = chosen.checked(name, options)
    try:
        network = chosen.build(**checked)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        given = ", ".join(f"{key}={value}" for key, value in checked.items())
        raise ConfigurationError(f"{name} cannot be built with {given}: {error}") from error
    if pretrained is not False and pretrained != "":
        load_pretrained(network, name, pretrained, data_dir, offline, checked)
    return network


def load_pretrained(
    network: nn.Module,
    name: str,
    pretrained: Literal[True] | str | Path,
    data_dir: str | Path | None,
    offline: bool,
    options: Mapping[str, Any],
) -> None:
    """Load published weights, or those of a file."""
    from lenext.models.pretrained import load_published, load_state, read_state

    if pretrained is not True:
        load_state(network, read_state(expand_path(pretrained)), name)
        return
    if options.get("in_channels", 3) != 3:
        raise ConfigurationError(f"{name}: the published weights are for 3 channels, not {options['in_channels']}")
    load_published(network, name, expand_path(data_dir) if data_dir else cache_folder(), offline)
