"""The types of settings, and the conversion of values from a file or a command line to them.

No torch here: options are parsed and their help is printed before anything heavy is loaded.
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
Reduction = Literal["exact", "fast"]

MAX_BITS = 3_400  # of a whole number that is written out
YES, NO = ("true", "yes", "on"), ("false", "no", "off")
TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def convert(name: str, value: object, kind: Any) -> Any:
    """Convert a value to a type without loss.

    Args:
        name: Name of the setting, for the error message.
        value: The value; text is parsed (`3`, `1e-3`, `yes`, `3,4,6,3`).
        kind: A Literal, bool, int, float, str, a tuple of one of them, or a union.

    Raises:
        ConfigurationError: The value does not fit the type, or would lose information.
    """
    origin = get_origin(kind)
    if origin is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if str(value) not in choices:
            near = unknown_name("", str(value), choices).partition("; ")[2]
            raise ConfigurationError(f"{name}={format_value(value)}: {near}")
        return value
    if origin in (Union, UnionType):
        for member in get_args(kind):
            try:
                return convert(name, value, member)
            except ConfigurationError:
                continue
        raise wrong_value(name, value, kind)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise wrong_value(name, value, kind)
        return tuple(convert(name, item, get_args(kind)[0]) for item in items)
    return convert_plain(name, value, kind)


def convert_plain(name: str, value: object, kind: Any) -> Any:
    """Convert a value to bool, int, float, str or None."""
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        if kind is bool and text in YES + NO:
            return text in YES
        if kind is type(None) and text in ("none", "null", ""):
            return None
        if kind not in (int, float):
            raise wrong_value(name, value, kind)
        try:
            return kind(text)
        except ValueError:
            raise wrong_value(name, value, kind) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value
    raise wrong_value(name, value, kind)


def wrong_value(name: str, value: object, kind: Any) -> ConfigurationError:
    return ConfigurationError(f"{name}={format_value(value)}: {describe_type(kind)} is needed")


def format_value(value: object) -> str:
    """Format a value as a recipe writes it; a whole number of thousands of digits, which Python refuses, in words."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return "a number of more than a thousand digits"
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or isinstance(value, bool)
        else shorten_text(str(value))
    )


def shorten_text(text: str, max_characters: int = 80) -> str:
    """Return text in one line of limited length."""
    line = " ".join(text[: 4 * max_characters].split())
    return line if len(line) <= max_characters else f"{line[: max_characters - 4]} ..."


def describe_type(kind: Any) -> str:
    """Describe a type in words: `a whole number or 'auto'`."""
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(describe_type(member) for member in get_args(kind) if member is not type(None))
    if origin is tuple:
        return f"a list such as 3,4,6 ({describe_type(get_args(kind)[0])} each)"
    return TYPE_NAMES.get(kind, str(kind))
