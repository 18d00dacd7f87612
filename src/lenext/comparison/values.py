"""The values that `vary --option KEY=...` tries: a list of them, or a range to search."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import convert
from lenext.models import find_variant
from lenext.models.user_network import is_user_network, parse_literal
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe, group_of, key_names, key_value
from lenext.workflows.prepare import resolve_experiment

SPLIT_KEYS = {name for name in key_names() if group_of(name) == "Split" or name == "shuffle"} - {"train_samples"}
NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})")
LOG_SCALE_RATIO = 10.0  # a range whose ends are this many times apart is searched by its logarithm


@dataclass(frozen=True)
class Range:
    """The numbers from low to high, both included; integers alone if `integer`."""

    low: float
    high: float
    integer: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high / self.low >= LOG_SCALE_RATIO


@dataclass(frozen=True)
class Choices:
    """The values, or the range, that a key may have."""

    key: str
    of_recipe: bool  # else it is an option of the network's constructor
    values: tuple[Any, ...] = ()
    range: Range | None = None
    default: Any = None  # of a constructor's option


def parse_choices(network: str, texts: Sequence[str]) -> list[Choices]:
    """Read `KEY=V1,V2` or `KEY=LOW..HIGH`: options of the network's constructor, or recipe keys.

    A tuple is written (3,5), or as its first entry, to which the others keep their proportion: with depths of (5, 5),
    3 is (3, 3); with widths of (32, 64), 48 is (48, 96).

    Raises:
        ConfigurationError: A key or value does not exist; names the nearest key.
    """
    choices: list[Choices] = []
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not key or not values.strip():
            raise ConfigurationError(f"--option {text}: write KEY=V1,V2,..., e.g. depths=3,5,7")
        if any(choice.key == key for choice in choices):
            raise ConfigurationError(f"--option {key}: it is given twice; put all its values in one")
        choices.append(parse_choice(network, key, values.strip()))
    return choices


def parse_choice(network: str, key: str, text: str) -> Choices:
    recipe = get_type_hints(Recipe)
    options = network_parameters(network)
    if key not in options and key not in recipe and not is_user_network(network):
        raise ConfigurationError(f"{network}: {unknown_name('option or recipe key', key, [*options, *recipe])}")
    if key == "seed":
        raise ConfigurationError("seed: --seeds sets the number of trainings of each variation")
    if key not in options and key in SPLIT_KEYS:
        raise ConfigurationError(f"{key}: all variations have the same split and order; give --{key.replace('_', '-')}")
    of_recipe = key not in options and key in recipe
    kind = recipe[key] if of_recipe else options[key].annotation if key in options else None
    default = options[key].default if key in options else None
    if match := RANGE.fullmatch(text):
        return Choices(key, of_recipe, range=parse_range(key, kind, match), default=default)
    values = [parse_value(f"{network}: {key}", part, kind, default) for part in split_values(text)]
    if len({str(value) for value in values}) < len(values):
        raise ConfigurationError(f"{key}={text}: a value is given twice")
    if of_recipe:
        for value in values:
            key_value(key, value)
    return Choices(key, of_recipe, tuple(values), default=default)


def network_parameters(network: str) -> Mapping[str, Any]:
    """Return the parameters of a network's constructor; none of a user-defined network, whose code is not run here."""
    return {} if is_user_network(network) else find_variant(network).parameters()


def parse_range(key: str, kind: Any, match: re.Match[str]) -> Range:
    """Read LOW..HIGH for a key of this type. Raises ConfigurationError if the key takes no such range."""
    members, (low, high) = get_args(kind) or (kind,), match.groups()
    integer = int in members and float not in members
    if not integer and float not in members and kind is not None:
        raise ConfigurationError(f"{key}={match[0]}: a range is for numbers; separate values by commas")
    limits = Range(float(low), float(high), integer or (kind is None and low.isdigit() and high.isdigit()))
    if limits.low >= limits.high:
        raise ConfigurationError(f"{key}={match[0]}: write the lower end first")
    if integer and (limits.low != int(limits.low) or limits.high != int(limits.high)):
        raise ConfigurationError(f"{key}={match[0]}: both ends must be whole numbers")
    return limits


def split_values(text: str) -> list[str]:
    """Split at commas outside brackets. Raises ConfigurationError for empty parts and unbalanced brackets."""
    values = [part.strip() for part in re.findall(r"(?:\([^()]*\)|[^,()])+|,,|^,|,\s*$|[()]", text)]
    if not all(values) or any(part.startswith(",") or part in "()" for part in values) or text.strip().endswith(","):
        raise ConfigurationError(f"{text}: separate values by commas, and put tuples in brackets, as in 3,(3,5)")
    return values


def parse_value(name: str, text: str, kind: Any, default: Any) -> Any:
    if kind is None:
        return parse_literal(text)
    if get_origin(kind) is not tuple:
        return convert(name, text, kind)
    if text.startswith("("):
        return convert(name, [part.strip() for part in text[1:-1].split(",") if part.strip()], kind)
    return scale_tuple(convert(name, text, get_args(kind)[0]), default)


def scale_tuple(first: Any, default: Sequence[Any]) -> tuple[Any, ...]:
    """Return a tuple that begins with `first` and keeps the proportions of `default`."""
    if isinstance(first, int) and default[0]:
        return (first, *(max(1, round(entry * first / default[0])) for entry in default[1:]))
    return (first,) * len(default)


def apply_values(base: Experiment, choices: Sequence[Choices], values: Mapping[str, Any]) -> Experiment:
    """Return the experiment with these values. Raises ConfigurationError if they exclude each other."""
    recipe_keys = {choice.key for choice in choices if choice.of_recipe}
    options = {**base.options, **{key: value for key, value in values.items() if key not in recipe_keys}}
    recipe = base.recipe.with_keys({key: value for key, value in values.items() if key in recipe_keys})
    return resolve_experiment(replace(base, options=options, recipe=recipe))


def format_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({','.join(map(str, value))})"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_values(values: Mapping[str, Any]) -> str:
    """Return the name of a variation."""
    return " ".join(f"{key}={format_value(value)}" for key, value in values.items())


def value_in(experiment: Experiment, choice: Choices) -> Any:
    """Return a key's value in an experiment."""
    if choice.of_recipe:
        return getattr(experiment.recipe, choice.key)
    return experiment.options.get(choice.key, choice.default)
