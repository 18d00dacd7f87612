"""The recipe's keys as options of the verbs that train."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import Group, Parameter

from lenext.cli.app import app, convert_strictly
from lenext.training.recipe import GROUPS, NOT_FOR_FEW_STEPS, Recipe, group_of


def optional_settings(without: Collection[str] = ()) -> Any:
    """Return a dataclass of the recipe's keys as options. Each is None unless set, which differs from its default.

    Args:
        without: Keys that have no effect on a verb, which it does not take.
    """
    hints = get_type_hints(Recipe)
    options, groups = [], list(GROUPS)
    for key in dataclasses.fields(Recipe):
        if key.name in without:
            continue
        about = key.metadata["about"]
        if limits := key.metadata["limits"]:
            about = f"{about} Range: {limits}."
        if key.default != "auto":
            default = str(key.default).lower() if isinstance(key.default, bool) else key.default
            about = f"{about} (default: {default})"
        is_integer = int in (hints[key.name], *get_args(hints[key.name]))
        group = Group(group_of(key.name), sort_key=1 + groups.index(group_of(key.name)))
        parameter = Parameter(help=about, converter=convert_strictly if is_integer else None, group=group)
        options.append((key.name, Annotated[hints[key.name] | None, parameter], dataclasses.field(default=None)))
    settings = dataclasses.make_dataclass("Settings", options, frozen=True)
    settings.__module__ = __name__  # cyclopts takes a class of module `types` for a plain value
    return settings


Settings = optional_settings()
RangeTestSettings = optional_settings(NOT_FOR_FEW_STEPS)
SettingsWithoutSeed = optional_settings(("seed",))


def explicit_settings(settings: Any) -> dict[str, Any]:
    """Return the settings that the user gave, by their keys."""
    return {key: value for key, value in vars(settings).items() if value is not None}


def takes_settings(settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for a verb whose parameter `settings` is a dataclass made by `optional_settings`."""

    def add_command(verb: Callable[..., None]) -> Callable[..., None]:
        verb.__annotations__["settings"] = Annotated[settings, Parameter(name="*")]
        return app.command(verb)

    return add_command
