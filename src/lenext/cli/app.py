"""The command line's App, and the options that verbs share."""

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
    help_flags=["--help", "-h"],
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `run` tells it
    default_parameter=Parameter(show_default=lambda value: None if value in ("", None, False) else str(value)),
)


def strictly(kind: Any, tokens: Sequence[Any]) -> Any:
    """Convert one word as recipes are read: 1.5 or 1e30 is no whole number, where the parser would round it."""
    members = tuple(one for one in get_args(kind) if one is not type(None))
    name = str(tokens[0].keyword or "").lstrip("-") or "number"
    plain = Union[members] if members and get_origin(kind) is not Literal else kind  # noqa: UP007, made from a tuple
    return convert(name, tokens[0].value, plain)


WHOLE = Parameter(converter=strictly)
"""Of an option that is a whole number."""

DataDir = Annotated[Path | None, Parameter(help="where published data lie or are put (default: $LENEXT_DATA)")]
Offline = Annotated[bool, Parameter(negative="", help="never touch the network")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]
Options = Annotated[
    list[str] | None,
    Parameter(name="--option", help="of the network, KEY=VALUE, e.g. activation=tanh; may be repeated", negative=""),
]
RunsDir = Annotated[Path, Parameter(help="where runs are")]


@dataclass(frozen=True)
class Opening:
    """How trained weights are opened and where they compute; named as the functions behind the verbs name them."""

    which: Annotated[
        Literal["best", "last"] | None, Parameter(name="--weights", help="which of the run's weights (default: best)")
    ] = None
    network: Annotated[str, Parameter(help="of weights of your own network: FILE.py:Class, which is run")] = ""
    device: Annotated[Device, Parameter(help="where to compute")] = "auto"
    precision: Annotated[Precision, Parameter(help="of the arithmetic")] = "auto"
    data_dir: DataDir = None
    offline: Offline = False


def pairs(texts: list[str] | None) -> dict[str, str]:
    """KEY=VALUE, each."""
    found = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--option {text}: KEY=VALUE is needed, e.g. activation=tanh")
        found[key] = value
    return found


def refuse(why: str, **options: object) -> None:
    """Raise ConfigurationError for the first of these options that was given: is not None, False or an empty text.

    Args:
        why: in which case they have no effect.
        options: by the names of their parameters.
    """
    for name, value in options.items():
        if value is not None and value is not False and value != "":
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(f"{option}: it has no effect {why}; leave it out")
