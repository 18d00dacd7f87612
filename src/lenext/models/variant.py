"""A variant: a named way to build a network, with its source, the images it is made for, and its published weights."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_type_hints

from torch import nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import convert

Kind = Literal["as taught", "as published", "small images"]
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MAX_DEPTH, MAX_WIDTH_FACTOR, MAX_NUMBER, MAX_LIST_LENGTH = 300, 64, 65_536, 8
"""Larger options are mistakes, or made to fill the memory."""
SET_BY_DATA = ("in_channels", "num_classes", "image_size")


@dataclass(frozen=True)
class Variant:
    """A named way to build a network.

    Attributes:
        build: Constructor with the variant's choices bound; its keyword-only parameters are the variant's options.
        image_size: Pixels a side that the variant is made for.
        source: Paper or course document.
        kind: As the documents teach it, as its paper or torchvision has it, or made for images of 28 to 64 px.
        weights: Name of torchvision's file of ImageNet weights, without suffix; it ends in eight digits of the file's
            SHA-256. Empty where there is none.
        shorter_side: Pixels to which these weights want a photo's shorter side scaled, before its middle is cut out.
        normalization: How these weights want pixels to go in.
        paper_names: What the paper calls parts of the network: a pattern of their names in the module, and the paper's
            name, which may hold the pattern's groups; of a layer that runs several times, one for each time.
    """

    build: Callable[..., nn.Module]
    image_size: int
    source: str
    kind: Kind = "as published"
    weights: str = ""
    shorter_side: int = 256
    normalization: Normalization = IMAGENET
    paper_names: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Return the options by name, with the variant's defaults and resolved types."""
        constructor = self.build
        while isinstance(constructor, partial):
            constructor = constructor.func
        hints = get_type_hints(constructor.__init__ if inspect.isclass(constructor) else constructor)
        parameters = inspect.signature(self.build).parameters.values()
        options = (parameter for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY)
        return {option.name: option.replace(annotation=hints[option.name]) for option in options}

    def convert_options(self, name: str, options: Mapping[str, object]) -> dict[str, Any]:
        """Convert options to the types of the constructor.

        Raises:
            ConfigurationError: An unknown option, a wrong type or a number out of range; `name` is the network's.
        """
        parameters = self.parameters()
        for key in options:
            if key not in parameters:
                raise ConfigurationError(f"{name}: {unknown_name('option', key, parameters)}")
        converted = {
            key: convert(f"{name}: {key}", value, parameters[key].annotation) for key, value in options.items()
        }
        for key, value in converted.items():
            check_range(f"{name}: {key}={value}", key, value if isinstance(value, tuple) else (value,))
        return converted


def check_range(label: str, key: str, values: tuple[object, ...]) -> None:
    """Raise ConfigurationError where an option would make a network too large to build."""
    limit = {"depths": MAX_DEPTH, "width": MAX_WIDTH_FACTOR}.get(key, MAX_NUMBER)
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(values) > MAX_LIST_LENGTH or not all(-limit <= number <= limit for number in numbers):
        raise ConfigurationError(f"{label}: more than {limit}, or a list of more than {MAX_LIST_LENGTH} numbers")
