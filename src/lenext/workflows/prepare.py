"""Preparation: from the user's arguments to an Experiment, its data and its network, checked against each other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lenext.data import DATASETS, is_image_folder, load
from lenext.data.corrections import CORRECTIONS, apply_corrections
from lenext.data.dataset import Dataset, Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.files import expand_path
from lenext.foundation.seeds import mix_seeds
from lenext.inspection.doctor import UnfitError, check_network, smallest_size
from lenext.models import FAMILIES, MODELS, create, find_pretrained_variant, find_variant, load_pretrained
from lenext.models.pretrained import load_state, read_state
from lenext.models.user_network import create_user_network, is_user_network
from lenext.models.variant import SET_BY_DATA
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.training.recipes import OF_NETWORKS, load_recipe
from lenext.training.settings import resolve_images, split_by_recipe
from lenext.workflows.context import Context
from lenext.workflows.fingerprint import split_fingerprint

MAX_PADDING = 8  # pixels, up to which padding is proposed
SMALL_IMAGE_PIXELS = 64


def build_experiment(recipe: str | Path | Recipe, outer: Mapping[str, Any], settings: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a user's arguments.

    `settings` win over `recipe`, which wins over the network's own recipe, which wins over the defaults.

    Args:
        recipe: A name of RECIPES, a YAML file, or a Recipe.
        outer: Keys of an Experiment other than `recipe`; an empty one is not set.
        settings: Keys of a Recipe.

    Raises:
        ConfigurationError: A key or a value does not exist, or keys do not fit together.
    """
    if not isinstance(recipe, str | Path | Recipe):
        raise ConfigurationError(f"recipe={recipe!r}: give a name, a YAML file or a Recipe")
    base = {} if isinstance(recipe, Recipe) or recipe == "" else load_recipe(str(recipe))
    if is_user_network(str(base.get("network", ""))) and not outer.get("network"):
        raise ConfigurationError(
            f"{recipe}: its network is a Python file; name it too, {base['network']}, and that file is run"
        )
    experiment = Experiment(**merge_experiment_keys(base, outer))
    if isinstance(recipe, Recipe):
        return replace(experiment, recipe=recipe.with_keys(settings))
    keys = (
        Recipe()
        .with_keys(OF_NETWORKS.get(experiment.network, {}))
        .with_keys(base.get("recipe", {}))
        .with_keys(settings)
    )
    return replace(experiment, recipe=keys)


def merge_experiment_keys(base: Mapping[str, Any], outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys of an Experiment other than `recipe`: those set in `outer`, then those of a recipe's file.

    Options of the recipe's file are for its own network only.
    """
    keys = {key: value for key, value in base.items() if key != "recipe"}
    keeps_network = not outer.get("network") or outer["network"] == keys.get("network")
    options = (keys.get("options", {}) if keeps_network else {}) | outer.get("options", {})
    return keys | {key: value for key, value in outer.items() if value} | {"options": options}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a network, or a recipe by its name."""
    is_network = name in MODELS
    return build_experiment("" if is_network else name, {"network": name} if is_network else {}, {}).recipe


def resolve_experiment(experiment: Experiment) -> Experiment:
    """Return the experiment with checked options, without `auto` where the optimizer or the network replaces it."""
    recipe, network = experiment.recipe.with_defaults(), experiment.network
    if experiment.pretrained and recipe.initialization != "default":
        raise ConfigurationError(f"initialization={recipe.initialization}: it would overwrite the pretrained weights")
    if not network or is_user_network(network):
        return replace(experiment, recipe=recipe)
    if experiment.pretrained == "imagenet":
        find_pretrained_variant(network)
    variant = find_variant(network)
    for key in experiment.options:
        if key in SET_BY_DATA:
            hint = "give --image-size" if key == "image_size" else "leave the option out"
            raise ConfigurationError(f"{network}: {key} is set by the data; {hint}")
    options = variant.convert_options(network, experiment.options)
    if recipe.image_size == "auto":
        recipe = recipe.with_keys({"image_size": variant.image_size})
    return replace(experiment, options=options, recipe=recipe)


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """Return the experiment with paths that hold from any folder."""
    network = absolute_network(experiment.network)
    data = experiment.data if experiment.data in DATASETS else absolute_path(experiment.data)
    weights = absolute_path(experiment.pretrained) if experiment.pretrained != "imagenet" else "imagenet"
    return replace(
        experiment, network=network, data=data, test_data=absolute_path(experiment.test_data), pretrained=weights,
        corrections=absolute_path(experiment.corrections),
    )  # fmt: skip


def absolute_network(network: str) -> str:
    """Return FILE.py:Class with its absolute path, and any other name unchanged."""
    file, colon, name = network.rpartition(":")
    return f"{absolute_path(file)}{colon}{name}" if is_user_network(network) else network


def absolute_path(path: str) -> str:
    """Return the absolute path of an existing file or folder, and any other text unchanged."""
    return str(expand_path(path).resolve()) if path and "://" not in path and expand_path(path).exists() else path


def load_data(experiment: Experiment, context: Context) -> Dataset:
    """Load the experiment's data, corrected; image files are resized to its image size."""
    data = load_uncorrected(experiment, context)
    is_due = experiment.corrections and CORRECTIONS not in data.source
    return apply_corrections(data, experiment.corrections) if is_due else data


def load_uncorrected(experiment: Experiment, context: Context) -> Dataset:
    """Load the experiment's data as their source has them."""
    if context.dataset is not None:
        return context.dataset
    if experiment.on_bad_image != "stop" and not any(
        map(is_image_folder, filter(None, (experiment.data, experiment.test_data)))
    ):
        raise DataError(
            f"on_bad_image={experiment.on_bad_image}: {experiment.data} is not a folder of images; leave it out"
        )
    return load(
        experiment.data,
        test=experiment.test_data or None,
        data_dir=context.data_dir,
        offline=context.offline,
        image_size=experiment.recipe.image_size,
        fit="pad" if experiment.recipe.resize == "pad" else "crop",
        label_column=experiment.label_column,
        on_bad_image=experiment.on_bad_image,
    )


def open_data(run: Run, context: Context) -> Dataset:
    """Return a run's data, split as for its training.

    Raises:
        DataError: The data cannot be read, or differ from those that the run was trained on.
    """
    experiment = run.experiment
    parts = split_by_recipe(load_data(experiment, context_of(run, context)), experiment.recipe)
    for name, split in parts.splits().items():
        check_unchanged(run, name, split, parts)
    return parts


def context_of(run: Run, context: Context) -> Context:
    """Return the context with the run's own data folder, unless it names another."""
    return replace(context, data_dir=context.data_dir or run.environment.get("data_dir"))


def check_unchanged(run: Run, name: str, split: Split, data: Dataset) -> None:
    """Raise DataError when the samples of a split are not those of the run's training."""
    fingerprint = run.read_json("split.json").get("fingerprints", {}).get(name)
    if fingerprint is not None and fingerprint != split_fingerprint(name, split, data.source):
        prefix = "test_" if name == "test" and "test_kind" in data.source else ""
        source = data.source.get(f"{prefix}path", data.name)
        raise DataError(
            f"{source}: its {name} samples have changed since the run was made; restore them, or give --data"
        )


def network_options(experiment: Experiment, channels: int, classes: int, size: int) -> dict[str, Any]:
    """Return all arguments of the network's constructor: the options, and what the data set."""
    from_data = {"in_channels": channels, "num_classes": classes, "image_size": size}
    if not is_user_network(experiment.network):
        parameters = find_variant(experiment.network).parameters()
        from_data = {key: value for key, value in from_data.items() if key in parameters}
    return {**experiment.options, **from_data}


def build_preprocessing(data: Dataset, experiment: Experiment) -> Preprocessing:
    """Return how images reach the network; published weights bring their own normalization and channels."""
    images = resolve_images(experiment.recipe, data)
    if experiment.pretrained != "imagenet":
        return images
    if experiment.recipe.scaling != "standardize":
        raise ConfigurationError(
            f"scaling={experiment.recipe.scaling}: published weights bring their own; leave it out"
        )
    return replace(images, normalization=find_pretrained_variant(experiment.network).normalization, network_channels=3)


def build_network(experiment: Experiment, options: Mapping[str, Any], context: Context) -> nn.Module:
    """Build the named network with weights from the recipe's seed or pretrained."""
    network = draw_network(experiment, options)
    if experiment.pretrained:
        if is_user_network(experiment.network):
            if experiment.pretrained == "imagenet":
                raise ConfigurationError(f"{experiment.network}: a user-defined network has no published weights")
            load_state(network, read_state(expand_path(experiment.pretrained)), experiment.network)
        else:
            weights: Literal[True] | str = True if experiment.pretrained == "imagenet" else experiment.pretrained
            load_pretrained(network, experiment.network, weights, context.data_dir, context.offline, options)
    return network


def draw_network(experiment: Experiment, options: Mapping[str, Any]) -> nn.Module:
    """Build the named network, with weights from the recipe's seed."""
    torch.manual_seed(mix_seeds(experiment.recipe.seed))
    if is_user_network(experiment.network):
        chosen = {key: value for key, value in options.items() if key in experiment.options}
        from_data = {key: int(value) for key, value in options.items() if key not in experiment.options}
        return create_user_network(experiment.network, chosen, from_data)
    return create(experiment.network, **options)


def check_fit(network: nn.Module, experiment: Experiment, input_shape: tuple[int, int, int], classes: int) -> None:
    """Try a blank image; an error names the layer that fails, and the smallest image size that works."""
    name = experiment.network or type(network).__name__
    channels, height, _ = input_shape
    try:
        check_network(network, input_shape, classes)
    except UnfitError as error:
        if not experiment.network:
            raise ConfigurationError(f"{name} {error}") from error

        def build(size: int) -> nn.Module:
            return draw_network(experiment, network_options(experiment, channels, classes, size))

        size = smallest_size(build, channels, classes, above=height)
        hint = f"; the smallest size above it that works is --image-size {size}" if size else ""
        hint += f" (or --resize pad --image-size {size})" if size and size - height <= MAX_PADDING else ""
        if height <= SMALL_IMAGE_PIXELS and (small := small_image_variant(experiment.network)):
            hint += f"; {small} is made for small images"
        raise ConfigurationError(f"{name} {error}{hint}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{name} {error}") from error


def small_image_variant(network: str) -> str:
    """Return the variant of a network's family for small images; empty when it is that variant."""
    family = FAMILIES.get(MODELS.get(network, ""), ())
    return next((name for name in family if name != network and find_variant(name).kind == "small images"), "")
