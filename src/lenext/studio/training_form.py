"""The form of a training, made from the declarations of the recipe's keys, and the command that it stands for."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lenext.data import DATASETS
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.models import MODELS, find_variant
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run
from lenext.training.recipe import GROUPS, Recipe, group_of, key_names, key_types, key_value
from lenext.training.recipes import ABOUT
from lenext.workflows.prepare import build_experiment, resolve_experiment
from lenext.workflows.train import default_name

TEXTS = (
    "network", "data", "recipe", "name", "weights", "freeze", "test_data", "label_column", "corrections", "options",
)  # fmt: skip
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
        "outer": {
            "network": experiment.network,
            "data": experiment.data,
            "freeze": experiment.freeze,
            "weights": experiment.pretrained,
            "test_data": experiment.test_data,
            "corrections": experiment.corrections,
            "label_column": experiment.label_column,
            "on_bad_image": experiment.on_bad_image,
            "options": " ".join(f"{key}={format_value(value)}" for key, value in experiment.options.items()),
        },
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
    kinds = union_members(key_types()[name])
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


def union_members(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union; of another type itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def format_value(value: object) -> str:
    """Return a value as an option takes it."""
    if isinstance(value, list | tuple):
        return ",".join(map(format_value, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def training_arguments(form: Mapping[str, Any], runs_dir: Path, name: str) -> list[str]:
    """Return the arguments of `lenext` that train what a form says.

    Args:
        form: The fields of text, `options` among them as KEY=VALUE separated by spaces; `pretrained`, true or false;
            `on_bad_image`; and `keys`, texts by name. A field that is missing or empty is left to its default.
        runs_dir: The folder of the runs.
        name: The name of the run.

    Raises:
        ConfigurationError: A field does not exist, or its value does not suit it.
    """
    texts = {key: text_of(form, key) for key in TEXTS}
    fields_known = {*TEXTS, "pretrained", "on_bad_image", "keys"}
    if unknown := [key for key in form if key not in fields_known]:
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
    for option in texts["options"].split():
        if not option.partition("=")[2]:
            raise ConfigurationError(f"options: {option}: give KEY=VALUE, e.g. activation=tanh")
        arguments.append(f"--option={option}")
    for key, value in keys_of(form).items():
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


def keys_of(form: Mapping[str, Any]) -> dict[str, str]:
    """Return the recipe's keys of a form."""
    values = form.get("keys", {})
    if not isinstance(values, dict) or not all(isinstance(each, str) for each in values.values()):
        raise ConfigurationError("keys: names and texts are needed")
    return values


def choose_name(form: Mapping[str, Any], runs_dir: Path, reserved: Collection[str] = ()) -> str:
    """Return the name of a new run: the one in the form, else NETWORK-DATA with a number.

    Args:
        form: The fields of the form.
        runs_dir: The folder of the runs.
        reserved: Names of runs that are being prepared, and have no folder yet.

    Raises:
        LenextError: The run exists, this is no name for one, or there is no such network or recipe.
    """
    outer = {key: text_of(form, key) for key in ("network", "data")}
    experiment = build_experiment(text_of(form, "recipe"), outer, {})
    if not is_user_network(experiment.network):
        find_variant(experiment.network)
    if name := text_of(form, "name"):
        if name in reserved:
            raise RunError(f"{name}: a training of this name is being prepared; give another")
        return Run.choose_folder(Run.path_for(runs_dir, name)).name
    preferred = Run.path_for(runs_dir, default_name(outer["network"], experiment)).name
    names = itertools.chain([preferred], (f"{preferred}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in reserved and not (runs_dir / name).exists())
