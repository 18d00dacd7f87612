"""What `--option KEY=...` may become in a variation: a list of values, or a range to search."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import convert
from lenext.models import find_variant
from lenext.models.user_network import is_user_network, parse_literal
from lenext.training.recipe import Recipe, group_of, key_names, key_value

SPLIT = {name for name in key_names() if group_of(name) == "Split" or name == "shuffle"} - {"train_samples"}
NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})")
WIDE = 10.0  # a range whose ends are so many times apart is searched by its logarithm


@dataclass(frozen=True)
class Range:
    """From low to high, both included; by the logarithm where that spans ten times or more."""

    low: float
    high: float
    whole: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high / self.low >= WIDE


@dataclass(frozen=True)
class Choices:
    """Of one key: whether it is a recipe's or the network's, and what it may be."""

    key: str
    of_recipe: bool
    values: tuple[Any, ...] = ()
    span: Range | None = None
    base: Any = None  # of a constructor's option, the default


def parse(network: str, texts: Sequence[str]) -> list[Choices]:
    """`KEY=V1,V2` or `KEY=LOW..HIGH`, each: options of the network's constructor, or recipe keys.

    A value of a tuple is written (3,5), or as its first entry, to which the others keep their proportion: with depths
    of (5, 5), 3 is (3, 3); with widths of (32, 64), 48 is (48, 96). Raises ConfigurationError, with the nearest name.
    """
    found: list[Choices] = []
    for text in texts:
        key, equals, rest = text.partition("=")
        if not equals or not key or not rest.strip():
            raise ConfigurationError(f"--option {text}: KEY=V1,V2,... is needed, e.g. depths=3,5,7")
        if any(one.key == key for one in found):
            raise ConfigurationError(f"--option {key}: it is given twice; put all its values in one")
        found.append(choices_of(network, key, rest.strip()))
    return found


def choices_of(network: str, key: str, text: str) -> Choices:
    recipe = get_type_hints(Recipe)
    options = {} if is_user_network(network) else find_variant(network).parameters()
    if key not in options and key not in recipe and not is_user_network(network):
        raise ConfigurationError(f"{network}: {unknown_name('option or recipe key', key, [*options, *recipe])}")
    if key == "seed":
        raise ConfigurationError("seed: --seeds says how many each variation has")
    if key not in options and key in SPLIT:
        raise ConfigurationError(f"{key}: all variations have the same split and order; give --{key.replace('_', '-')}")
    of_recipe = key not in options and key in recipe
    kind = recipe[key] if of_recipe else options[key].annotation if key in options else None
    base = options[key].default if key in options else None
    if match := RANGE.fullmatch(text):
        return Choices(key, of_recipe, span=span_of(key, kind, text, match[1], match[2]), base=base)
    values = [value_of(f"{network}: {key}", part, kind, base) for part in parts(text)]
    if len({str(value) for value in values}) < len(values):
        raise ConfigurationError(f"{key}={text}: a value is given twice")
    if of_recipe:
        for value in values:
            key_value(key, value)
    return Choices(key, of_recipe, tuple(values), base=base)


def span_of(key: str, kind: Any, text: str, low: str, high: str) -> Range:
    """A range of numbers of the key's type. Raises ConfigurationError where the key takes none."""
    members = get_args(kind) or (kind,)
    whole = int in members and float not in members
    if not whole and float not in members and kind is not None:
        raise ConfigurationError(f"{key}={text}: a range is for numbers; give values with commas")
    found = Range(float(low), float(high), whole or (kind is None and low.isdigit() and high.isdigit()))
    if found.low >= found.high:
        raise ConfigurationError(f"{key}={text}: the lower end comes first")
    if whole and (found.low != int(found.low) or found.high != int(found.high)):
        raise ConfigurationError(f"{key}={text}: whole numbers are needed")
    return found


def parts(text: str) -> list[str]:
    """Split at commas that are not within brackets. Raises ConfigurationError for empty parts and open brackets."""
    found = [one.strip() for one in re.findall(r"(?:\([^()]*\)|[^,()])+|,,|^,|,\s*$|[()]", text)]
    if not all(found) or any(one.startswith(",") or one in "()" for one in found) or text.strip().endswith(","):
        raise ConfigurationError(f"{text}: values with commas between are needed, lists in brackets, as in 3,(3,5)")
    return found


def value_of(what: str, text: str, kind: Any, base: Any) -> Any:
    """One value, as its key's type."""
    if kind is None:
        return parse_literal(text)
    if get_origin(kind) is not tuple:
        return convert(what, text, kind)
    if text.startswith("("):
        return convert(what, [one.strip() for one in text[1:-1].split(",") if one.strip()], kind)
    first = convert(what, text, get_args(kind)[0])
    return in_proportion(first, base)


def in_proportion(first: Any, base: Sequence[Any]) -> tuple[Any, ...]:
    """A tuple that begins with `first` and goes on as `base` does."""
    if isinstance(first, int) and base[0]:
        return (first, *(max(1, round(one * first / base[0])) for one in base[1:]))
    return (first,) * len(base)


def applied(experiment: Any, choices: Sequence[Choices], values: Mapping[str, Any]) -> tuple[dict[str, Any], Recipe]:
    """The options and the recipe of an experiment with these values."""
    of_recipe = {one.key for one in choices if one.of_recipe}
    options = {**experiment.options, **{key: value for key, value in values.items() if key not in of_recipe}}
    return options, experiment.recipe.with_keys({key: value for key, value in values.items() if key in of_recipe})


def said(value: Any) -> str:
    """A value for a table."""
    if isinstance(value, tuple | list):
        return f"({','.join(map(str, value))})"
    return (
        f"{value:.10g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    )


def base_value(network: str, experiment: Any, key: str) -> Any:
    """What a key is without a variation."""
    if key in {one.name for one in fields(Recipe)} and (
        is_user_network(network) or key not in find_variant(network).parameters()
    ):
        return getattr(experiment.recipe, key)
    if key in experiment.options:
        return experiment.options[key]
    return None if is_user_network(network) else find_variant(network).parameters()[key].default
