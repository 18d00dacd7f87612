"""The command line application, and the options that several verbs share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cyclopts import App, Parameter

from lenext import __version__
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import Device, Precision, convert

app = App(
    "lenext",
    version=__version__,
    help_format="plaintext",  # Markdown takes 50 ms to import
    help_flags=["--help", "-h"],
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `run` reports it
    default_parameter=Parameter(show_default=lambda value: None if value in ("", None, False) else str(value)),
)


def convert_strictly(kind: Any, tokens: Sequence[Any]) -> Any:
    """Convert an option's value as recipes are read: 1.5 or 1e30 is no integer, while the parser would round it."""
    members = tuple(member for member in get_args(kind) if member is not type(None))
    name = str(tokens[0].keyword or "").lstrip("-") or "number"
    plain = Union[members] if members and get_origin(kind) is not Literal else kind  # noqa: UP007, made from a tuple
    return convert(name, tokens[0].value, plain)


INTEGER = Parameter(converter=convert_strictly)
"""The parameter of an option that takes an integer."""

DataDir = Annotated[Path | None, Parameter(help="Folder of downloaded datasets and weights (default: $LENEXT_DATA).")]
Offline = Annotated[bool, Parameter(negative="", help="Do not access the network.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
Options = Annotated[
    list[str] | None,
    Parameter(name="--option", help="Option of the network, KEY=VALUE, e.g. activation=tanh; repeatable.", negative=""),
]
StoredWeights = Annotated[Literal["best", "last"] | None, Parameter(help="Weights of the run to use (default: best).")]
UserNetwork = Annotated[
    str, Parameter(help="File of a user-defined network, FILE.py:Class, which is executed to load its weights.")
]
RunsDir = Annotated[Path, Parameter(help="Folder of the runs.")]


@dataclass(frozen=True)
class WeightsOptions:
    """Options for loading trained weights and computing with them, named as the parameters of the workflows."""

    weights: StoredWeights = None
    network: UserNetwork = ""
    device: Annotated[Device, Parameter(help="Device to compute on; auto: cuda, else mps, else cpu.")] = "auto"
    precision: Annotated[
        Precision, Parameter(help="Precision of the arithmetic; auto: bf16 or fp16 where the device is fast in it.")
    ] = "auto"
    engine: Annotated[
        Literal["torch", "onnxruntime", "openvino", "auto"] | None,
        Parameter(help="What computes (default: torch); auto: the fastest by what was measured."),
    ] = None
    data_dir: DataDir = None
    offline: Offline = False


Processes = Annotated[
    int | None,
    INTEGER,
    Parameter(help="Processes on this machine that share each batch; on several machines, start with torchrun."),
]


def in_processes(count: int) -> None:
    """Carry out the present command in several processes. Raises ToldElsewhereError unless they succeed."""
    from lenext.workflows.launch import launch

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigurationError(f"--processes {count}: torchrun has started several already; leave it out")
    words = iter(invocation.arguments)
    arguments = list[str]()
    for word in words:
        if word == "--processes":
            next(words, None)
        elif not word.startswith("--processes="):
            arguments.append(word)
    launch(arguments, count)


@dataclass
class Invocation:
    """The command line of the verb that runs now."""

    arguments: Sequence[str] = ()


invocation = Invocation()


def parse_pairs(texts: list[str] | None) -> dict[str, str]:
    """Return the keys and values of texts of the form KEY=VALUE."""
    values = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--option {text}: give KEY=VALUE, e.g. activation=tanh")
        values[key] = value
    return values


def refuse(why: str, **options: object) -> None:
    """Raise ConfigurationError for the first of these options that is set: not None, False or an empty text.

    Args:
        why: The case in which the options have no effect.
        options: Their values, by the names of their parameters.
    """
    for name, value in options.items():
        if value is not None and value is not False and value != "":
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"{option}: it has no effect {why}; leave it out")
