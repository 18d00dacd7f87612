"""The Recipe's keys as options of verbs that train."""

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import Group, Parameter

from lenext.cli.app import strictly
from lenext.training.recipe import GROUPS, NOT_FOR_FEW_STEPS, Recipe, group_of


def optional_settings(without: Collection[str] = ()) -> Any:
    """The Recipe's keys as options, each None where it is not given, so that `not given` differs from the default.

    without: keys that have no effect on a verb, which it does not take.
    """
    hints = get_type_hints(Recipe)
    made, groups = [], list(GROUPS)
    for one in dataclasses.fields(Recipe):
        if one.name in without:
            continue
        about = one.metadata["about"]
        if limits := one.metadata["limits"]:
            about = f"{about} Range: {limits}."
        if one.default != "auto" and "auto:" not in about:
            about = f"{about} (default: {str(one.default).lower() if isinstance(one.default, bool) else one.default})"
        whole = int in (hints[one.name], *get_args(hints[one.name]))
        group = Group(group_of(one.name), sort_key=1 + groups.index(group_of(one.name)))
        note = Parameter(help=about, converter=strictly if whole else None, group=group)
        made.append((one.name, Annotated[hints[one.name] | None, note], dataclasses.field(default=None)))
    settings = dataclasses.make_dataclass("Settings", made, frozen=True)
    settings.__module__ = __name__  # cyclopts takes a class of module `types` for a plain value
    return settings


Settings = optional_settings()
OfFewSteps = optional_settings(NOT_FOR_FEW_STEPS)
OfSeveralSeeds = optional_settings(("seed",))


def given(settings: Any) -> dict[str, Any]:
    """Those that were given."""
    return {key: value for key, value in vars(settings).items() if value is not None}
