"""The experiment: a network, the data and a recipe. It is read from YAML and written to it."""

import errno
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import read_regular
from lenext.foundation.settings import OnBadImage, convert
from lenext.training.recipe import Recipe, key_names, key_value

MAX_RECIPE_BYTES = 1 << 16
MAX_NESTING = 30


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is made from.

    Attributes:
        network: A name of MODELS, or FILE.py:Class.
        options: Arguments of the network's constructor.
        pretrained: `imagenet` for published weights, or a file of weights.
        freeze: Parts that do not learn, comma-separated; `backbone` is all but the last layer.
        data: A name of DATASETS, or a path.
        test_data: The same for a separate test set.
        label_column: The column of a CSV file that holds the labels.
        on_bad_image: What an image that cannot be read does: `stop`, or `skip` the image.
        corrections: A file of decisions about samples: relabelled, or dropped.
        recipe: How to train.
    """

    network: str = "lenet"
    options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    freeze: str = ""
    data: str = "digits"
    test_data: str = ""
    label_column: str = "auto"
    on_bad_image: OnBadImage = "stop"
    corrections: str = ""
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        for name, kind in outer_types().items():
            object.__setattr__(self, name, convert(name, getattr(self, name), kind))

    def to_yaml(self) -> str:
        """Return the experiment as YAML; tuples become lists."""
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        plain = asdict(self) | {"options": options}
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        is_exact = yaml.safe_load(text) == plain  # not so for line separators of Unicode, which have to be escaped
        return text if is_exact else yaml.safe_dump(plain, sort_keys=False)


@cache
def outer_types() -> dict[str, Any]:
    """Return the types of an Experiment's own keys: all but its options and its recipe."""
    return {name: kind for name, kind in get_type_hints(Experiment).items() if name not in ("options", "recipe")}


class WithoutDuplicates(yaml.constructor.SafeConstructor):
    """Plain YAML without duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse duplicate keys."""
        keys = [self.construct_object(key) for key, _ in node.value]
        earlier: set[object] = set()
        for key in keys:
            if not isinstance(key, Hashable) or key in earlier:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is set twice", node.start_mark)
            earlier.add(key)
        return super().construct_mapping(node, deep)


class StrictLoader(WithoutDuplicates, yaml.SafeLoader):
    """Plain YAML without aliases either, by which a few lines can grow to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases."""
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read; write the value out", mark)
        return super().compose_node(parent, index)


class FastLoader(WithoutDuplicates, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same by libyaml, where it is there: several times as fast. It does not see aliases."""


def load_yaml(text: str) -> Any:
    """Return the content of a YAML text. Raises yaml.YAMLError for aliases and duplicate keys, too."""
    if "*" not in text:
        with suppress(yaml.YAMLError, ValueError, RecursionError):  # the other one finds the words for it
            return yaml.load(text, FastLoader)
    return yaml.load(text, StrictLoader)


def read_experiment(path: Path) -> dict[str, Any]:
    """Read what a YAML file sets: keys of an Experiment; those of its recipe under `recipe:` or beside the others.

    Returns:
        The keys that the file sets, with `options` and `recipe` as dictionaries.

    Raises:
        ConfigurationError: The file cannot be read, is not YAML, or holds anything else.
    """
    content = read_yaml(path)
    recipe = content.pop("recipe", None) or {}
    if not isinstance(recipe, dict):
        raise ConfigurationError(f"{path}: under `recipe:` there must be lines of `key: value`")
    outer_names = [declaration.name for declaration in fields(Experiment) if declaration.name != "recipe"]
    for name in [*content, *recipe]:
        if name not in ([] if name in recipe else outer_names) and name not in key_names():
            raise ConfigurationError(f"{path}: {unknown_name('key', str(name), [*outer_names, *key_names()])}")
    options = content.get("options") or {}
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ConfigurationError(f"{path}: under `options:` there must be lines of `option: value`")
    outer = {name: value for name, value in content.items() if name in outer_types()}
    recipe = {name: value for name, value in content.items() if name in key_names()} | recipe
    try:
        outer = {name: convert(name, value, outer_types()[name]) for name, value in outer.items()}
        for name, value in recipe.items():
            key_value(name, value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return outer | {"options": options, "recipe": recipe}


def nesting(text: str) -> int:
    """Return how deep brackets are in brackets.

    >>> nesting("widths: [6, [16, {a: b}]]")
    3
    """
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a YAML file of `key: value` lines. Raises ConfigurationError."""
    try:
        text = read_regular(path, MAX_RECIPE_BYTES).decode()
        if nesting(text) > MAX_NESTING:  # the parser takes seconds for hundreds
            raise ValueError(f"brackets in brackets, more than {MAX_NESTING} deep")
        content = load_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        is_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        reason = getattr(error, "strerror", None) or error
        problem = "larger than any recipe" if is_large else f"cannot be read ({reason})"
        raise ConfigurationError(f"{path}: {problem}; a recipe is lines of `key: value`") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: a recipe is lines of `key: value`; this is not")
    return content
