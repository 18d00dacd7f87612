"""The form of a training, made from the declarations of the recipe's keys, and the command that it stands for."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lenext.data import DATASETS
from lenext.foundation.errors import ConfigurationError
from lenext.models import MODELS, find_variant
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run
from lenext.training.recipe import GROUPS, Recipe, group_of, key_names, key_types, key_value
from lenext.training.recipes import ABOUT
from lenext.workflows.prepare import build_experiment, resolve_experiment
from lenext.workflows.train import default_name

TEXTS = ("network", "data", "recipe", "name", "weights", "freeze", "test_data", "label_column", "corrections")
"""Fields of text besides the recipe's keys."""


def describe_form(network: str, recipe: str) -> dict[str, Any]:
    """Return the fields of the form, with the values that a network and a recipe give them.

    Args:
        network: A name of MODELS, or FILE.py:Class; empty for the default.
        recipe: A name of RECIPES, or a YAML file.

    Raises:
        ConfigurationError: The network or the recipe does not exist.
    """
    experiment = build_experiment(recipe, {"network": network}, {})
    keys = experiment.recipe if is_user_network(experiment.network) else resolve_experiment(experiment).recipe
    declared = [describe_key(each.name, each.metadata, getattr(keys, each.name)) for each in fields(Recipe)]
    return {
        "network": experiment.network,
        "groups": [
            {"title": title, "keys": [each for each in declared if group_of(each["name"]) == title]} for title in GROUPS
        ],
    }


def describe_choices() -> dict[str, Any]:
    """Return the networks, data sets and recipes that have a name."""
    return {
        "networks": [
            {"name": name, "about": f"{family}: {find_variant(name).source}"} for name, family in MODELS.items()
        ],
        "datasets": [{"name": name, "about": entry.about} for name, entry in DATASETS.items()],
        "recipes": [{"name": name, "about": about} for name, about in ABOUT.items()],
    }


def describe_key(name: str, metadata: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Return the field of a key: its help, its limits, its choices and its value."""
    kinds = members(key_types()[name])
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if bool in kinds:
        choices = ["true", "false", *choices]
    numbers = int in kinds or float in kinds
    return {
        "name": name,
        "about": metadata["about"],
        "limits": str(metadata["limits"] or ""),
        "choices": choices,
        "is_number": numbers,
        "value": format_value(value),
    }


def members(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union; of another type itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def format_value(value: object) -> str:
    """Return a value as an option takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def training_arguments(form: Mapping[str, Any], runs_dir: Path, name: str) -> list[str]:
    """Return the arguments of `lenext` that train what a form says.

    Args:
        form: The fields of text, `pretrained` (true or false), `on_bad_image`, `options` and `keys`, the last two by
            name; a field that is missing or empty is left to its default.
        runs_dir: The folder of the runs.
        name: Of the run.

    Raises:
        ConfigurationError: A field does not exist, or its value does not suit it.
    """
    texts = {key: text_of(form, key) for key in TEXTS}
    known = {*TEXTS, "pretrained", "on_bad_image", "options", "keys"}
    if unknown := [key for key in form if key not in known]:
        raise ConfigurationError(f"{unknown[0]}: the form has no such field")
    network = texts["network"]
    if network.startswith("-"):
        raise ConfigurationError(f"{network}: not the name of a network")
    arguments = ["train", *([network] if network else [])]
    for key in ("data", "recipe", "weights", "freeze", "test_data", "label_column", "corrections"):
        if texts[key]:
            arguments.append(f"--{key.replace('_', '-')}={texts[key]}")
    if form.get("pretrained") is True:
        arguments.append("--pretrained")
    if bad := text_of(form, "on_bad_image"):
        arguments.append(f"--on-bad-image={bad}")
    arguments += [f"--option={key}={value}" for key, value in pairs(form, "options").items() if value]
    for key, value in pairs(form, "keys").items():
        if value and key not in key_names():
            raise ConfigurationError(f"{key}: recipes have no such key")
        if value:
            arguments.append(f"--{key.replace('_', '-')}={format_value(key_value(key, value))}")
    return [*arguments, f"--name={name}", f"--runs-dir={runs_dir}"]


def text_of(form: Mapping[str, Any], key: str) -> str:
    """Return a field of text, without the spaces around it."""
    value = form.get(key, "")
    if not isinstance(value, str):
        raise ConfigurationError(f"{key}: text is needed")
    return value.strip()


def pairs(form: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return a field of names and texts."""
    values = form.get(key, {})
    if not isinstance(values, dict) or not all(isinstance(each, str) for each in values.values()):
        raise ConfigurationError(f"{key}: names and texts are needed")
    return values


def choose_name(form: Mapping[str, Any], runs_dir: Path) -> str:
    """Return the name of a new run: the one in the form, else NETWORK-DATA with a number.

    Raises:
        LenextError: The run exists, this is no name for one, or there is no such network or recipe.
    """
    outer = {key: text_of(form, key) for key in ("network", "data")}
    experiment = build_experiment(text_of(form, "recipe"), outer, {})
    if not is_user_network(experiment.network):
        find_variant(experiment.network)
    if name := text_of(form, "name"):
        return Run.choose_folder(Run.path_for(runs_dir, name)).name
    return Run.choose_folder(runs_dir / default_name(outer["network"], experiment), numbered=True).name
