"""A Variant: a named way to build a network, with where it comes from and the images it was made for."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_type_hints

from torch import nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import convert

Kind = Literal["as taught", "as published", "small images"]
MOST = {"depths": 300, "width": 64}
MOST_ELSE, MOST_STAGES = 65_536, 8
"""Options of more are mistakes, or made to fill memory."""
SET_BY_DATA = ("in_channels", "num_classes", "image_size")


@dataclass(frozen=True)
class Variant:
    """build: the constructor, its choices bound. image_size: pixels a side that it was made for.

    source: the paper or course document. kind: as the documents teach it, as its paper or torchvision has it, or made
    for images of 28 to 64 px.
    """

    build: Callable[..., nn.Module]
    image_size: int
    source: str
    kind: Kind = "as published"

    def parameters(self) -> dict[str, inspect.Parameter]:
        """What the constructor takes by name, with the defaults that this variant has; types resolved."""
        target = self.build
        while isinstance(target, partial):
            target = target.func
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
        taken = inspect.signature(self.build).parameters.values()
        by_name = (one for one in taken if one.kind == one.KEYWORD_ONLY)
        return {one.name: one.replace(annotation=hints[one.name]) for one in by_name}

    def checked(self, name: str, options: Mapping[str, object]) -> dict[str, Any]:
        """The options as the constructor's types; an unknown one or a wrong type is a ConfigurationError."""
        known = self.parameters()
        for key in options:
            if key not in known:
                raise ConfigurationError(f"{name}: {unknown_name('option', key, known)}")
        found = {key: convert(f"{name}: {key}", value, known[key].annotation) for key, value in options.items()}
        for key, value in found.items():
            numbers = value if isinstance(value, tuple) else (value,)
            most = MOST.get(key, MOST_ELSE)
            if len(numbers) > MOST_STAGES or any(
                isinstance(n, int | float) and not -most <= n <= most for n in numbers
            ):
                raise ConfigurationError(
                    f"{name}: {key}={value}: more than {most}, or of more than {MOST_STAGES} parts"
                )
        return found
