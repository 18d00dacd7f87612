"""The networks by name. To add a family: one file with its VARIANTS, and a line in FAMILIES."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import cache_folder, expand_path
from lenext.models import airbench, alexnet, convnext, densenet, googlenet, lenet, nin, resnet, vgg
from lenext.models.pretrained import load_published, load_state, read_state
from lenext.models.variant import Variant

FAMILIES: dict[str, dict[str, Variant]] = {
    "lenet": lenet.VARIANTS,
    "alexnet": alexnet.VARIANTS,
    "vgg": vgg.VARIANTS,
    "nin": nin.VARIANTS,
    "googlenet": googlenet.VARIANTS,
    "resnet": resnet.VARIANTS,
    "densenet": densenet.VARIANTS,
    "convnext": convnext.VARIANTS,
    "airbench": airbench.VARIANTS,
}

MODELS = {name: family for family, variants in FAMILIES.items() for name in variants}
"""The family of each variant, by name."""


def find_variant(name: str) -> Variant:
    """Return the variant of this name.

    Raises:
        ConfigurationError: No variant has this name; the message gives the nearest one.
    """
    if name not in MODELS:
        raise ConfigurationError(unknown_name("network", name, MODELS, "Give a user-defined network as FILE.py:Class"))
    return FAMILIES[MODELS[name]][name]


def find_pretrained_variant(name: str) -> Variant:
    """Return the variant of this name, which must have published weights.

    Raises:
        ConfigurationError: It has none; the message gives the nearest name that has.
    """
    if name not in MODELS or not find_variant(name).weights:
        published = [variant for variant in MODELS if find_variant(variant).weights]
        raise ConfigurationError(f"{name} has no published weights; {unknown_name('such network', name, published)}")
    return find_variant(name)


def create(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    data_dir: str | Path | None = None,
    offline: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a network from images (N, C, H, W) to logits (N, K).

    Weights are drawn from torch's global generator: call `torch.manual_seed` before to draw the same ones again.

    Args:
        name: A name of MODELS.
        pretrained: True for the published ImageNet weights, which want three channels and pixels normalized by
            `find_variant(name).normalization`; or a file of weights. With other classes the last layer keeps its
            random weights.
        data_dir: Folder in whose `weights` the published weights are kept; the default is the cache folder.
        offline: Whether published weights may not be downloaded.
        options: `in_channels`, `num_classes` and further options of the variant, which
            `find_variant(name).parameters()` lists with their defaults.

    Raises:
        ConfigurationError: A name or an option that does not exist, or options that do not fit together.
    """
    variant = find_variant(name)
    converted = variant.convert_options(name, options)
    try:
        network = variant.build(**converted)
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        settings = ", ".join(f"{key}={value}" for key, value in converted.items())
        raise ConfigurationError(f"{name} cannot be built with {settings}: {error}") from error
    if pretrained is not False and pretrained != "":
        load_pretrained(network, name, pretrained, data_dir, offline, converted)
    return network


def load_pretrained(
    network: nn.Module,
    name: str,
    pretrained: Literal[True] | str | Path,
    data_dir: str | Path | None,
    offline: bool,
    options: Mapping[str, Any],
) -> None:
    """Load the published weights, or those of a file, into the network of this name that these options built."""
    if pretrained is not True:
        load_state(network, read_state(expand_path(pretrained)), name)
        return
    if options.get("in_channels", 3) != 3:
        raise ConfigurationError(f"{name}: the published weights are for 3 channels, not {options['in_channels']}")
    weights = find_pretrained_variant(name).weights
    load_published(network, name, weights, expand_path(data_dir) if data_dir else cache_folder(), offline)
