"""The words that settings are made of, and how a value from a file or a command line is checked against its type.

No torch here: options are parsed and helped with before anything heavy is loaded.
"""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lenext.foundation.errors import ConfigurationError, unknown_name

Device = Literal["auto", "cpu", "mps", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
MemoryFormat = Literal["auto", "contiguous", "channels_last"]
Scaling = Literal["standardize", "unit", "symmetric", "raw"]
Resize = Literal["interpolate", "pad", "crop"]
Fit = Literal["crop", "pad"]
Method = Literal["stratified", "random", "ordered"]
Fraction = float | Literal["auto"]
ShiftPadding = Literal["black", "reflect"]
TestTimeAugmentation = Literal["none", "flip", "shift", "flip_and_shift"]
OnBadImage = Literal["stop", "skip"]

YES, NO = ("true", "yes", "on"), ("false", "no", "off")
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def convert(what: str, value: object, kind: Any) -> Any:
    """`value` as the type `kind`: a Literal, bool, int, float, str, a tuple of one of them, or a union.

    Text is read as a person means it (`3`, `1e-3`, `yes`, `3,4,6,3`); anything that loses information is refused.
    Raises ConfigurationError that names `what`.
    """
    origin = get_origin(kind)
    if origin is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if str(value) not in choices:
            near = unknown_name("", str(value), choices).partition("; ")[2]
            raise ConfigurationError(f"{what}={format_value(value)}: {near}")
        return value
    if origin in (Union, UnionType):
        for member in get_args(kind):
            try:
                return convert(what, value, member)
            except ConfigurationError:
                continue
        raise wrong_value(what, value, kind)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise wrong_value(what, value, kind)
        return tuple(convert(what, item, get_args(kind)[0]) for item in items)
    return convert_plain(what, value, kind)


def convert_plain(what: str, value: object, kind: Any) -> Any:
    """`value` as bool, int, float, str or None."""
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        if kind is bool and text in YES + NO:
            return text in YES
        if kind is type(None) and text in ("none", "null", ""):
            return None
        if kind not in (int, float):
            raise wrong_value(what, value, kind)
        try:
            return kind(text)
        except ValueError:
            raise wrong_value(what, value, kind) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value
    raise wrong_value(what, value, kind)


def wrong_value(what: str, value: object, kind: Any) -> ConfigurationError:
    return ConfigurationError(f"{what}={format_value(value)}: {describe_type(kind)} is needed")


def format_value(value: object) -> str:
    """A value as a recipe spells it."""
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or isinstance(value, bool)
        else shorten_text(str(value))
    )


def shorten_text(text: str, most: int = 80) -> str:
    """In one line of at most so many characters."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def describe_type(kind: Any) -> str:
    """A type in words: `a whole number or 'auto'`."""
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(describe_type(member) for member in get_args(kind) if member is not type(None))
    if origin is tuple:
        return f"a list such as 3,4,6 ({describe_type(get_args(kind)[0])} each)"
    return WORDS.get(kind, str(kind))
