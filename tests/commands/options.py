"""The verbs of the command line and their options, as the command line application declares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lenext.cli.app import app
from lenext.verbs import VERBS

SERVING = ("studio", "serve")
"""Verbs that run until they are stopped; tests of their own have their options."""


@dataclass(frozen=True)
class Option:
    """An option or positional argument of a verb: its first name, its type, and whether it is a flag."""

    name: str
    hint: Any
    positional: bool
    flag: bool

    def choices(self) -> list[str]:
        """Return the values that a Literal allows, also in a union."""
        hints = [self.hint, *get_args(self.hint)]
        return [str(word) for hint in hints if get_origin(hint) is Literal for word in get_args(hint)]

    def members(self) -> list[Any]:
        """Return the plain types that the value may have."""
        hints = get_args(self.hint) if get_origin(self.hint) not in (None, Literal) else [self.hint]
        return [hint for hint in hints if hint in (int, float, str, Path, bool)]


def commands() -> dict[tuple[str, ...], list[Option]]:
    """Return every verb, including the sub-verbs of `list` and `show`, with its options."""
    for room in {verb.room for verb in VERBS.values()}:
        import_module(f"lenext.cli.{room}")
    return {
        words: [option_of(argument) for argument in arguments if "*" not in argument.names]
        for words, arguments in walk(app, ())
    }


def walk(verb: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in (name for name in verb if not name.startswith("-")):
        yield from walk(verb[name], (*words, name))
    if words and verb.default_command is not None:
        yield words, verb.assemble_argument_collection()


def option_of(argument: Any) -> Option:
    positional = not argument.names[0].startswith("-")
    hint = argument.hint
    flag = bool in (hint, *get_args(hint)) and not any(get_origin(one) is Literal for one in get_args(hint))
    return Option(argument.names[0], hint, positional, flag)
