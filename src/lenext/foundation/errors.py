"""Errors that a user can fix, each reported in one line: what is wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED_NAMES = 30
MAX_MESSAGE_CHARACTERS = 1500
MESSAGE_END_CHARACTERS = 300  # kept of a longer message


class LenextError(Exception):
    """An error that the user can fix; the command line prints its message alone and exits with code 2.

    The message is one printable line, whatever is put into it: text from other people's files cannot move the cursor.
    """

    exit_code = 2
    """Of the command line."""

    def __init__(self, message: str = "") -> None:
        line = " ".join(message.split("\n")) if "\n" in message else message
        plain = line if line.isprintable() else "".join(c if c.isprintable() else f"{c!r}"[1:-1] for c in line)
        if len(plain) > MAX_MESSAGE_CHARACTERS:
            start = plain[: MAX_MESSAGE_CHARACTERS - MESSAGE_END_CHARACTERS]
            plain = f"{start} ... {plain[-MESSAGE_END_CHARACTERS:]}"
        super().__init__(plain)


class ConfigurationError(LenextError):
    """A network, recipe key, option or device that does not exist or is not available."""


class DataError(LenextError):
    """A dataset, file or image that is missing, broken or does not fit."""


class DownloadError(LenextError):
    """A file that could not be downloaded in full, or is not the published one."""


class RunError(LenextError):
    """A run folder or a weights file that is missing, in the way, broken, or made for another network."""


class TrainingError(LenextError):
    """Training that cannot continue, such as with a loss that is not finite."""


class LostProcessError(LenextError):
    """Another process of a training has ended, or cannot be reached any more; a checkpoint continues."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command may work again


class ToldElsewhereError(LenextError):
    """An error that another process has reported; this one ends without a word."""

    def __init__(self, exit_code: int = 2) -> None:
        super().__init__()
        self.exit_code = exit_code


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, Python's or torch's, means that memory ran out."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or "allocate" in message or "out of memory" in message


def unknown_name(kind: str, name: str, known_names: Iterable[str], hint: str = "") -> str:
    """Return the message for an unknown name: the nearest known name, or all of them; then the hint.

    >>> unknown_name("network", "lenett", ["lenet", "resnet18"])
    "there is no network 'lenett'; did you mean 'lenet'?"
    """
    names = list(known_names)
    by_key = {known.lower().replace("-", "_"): known for known in names}
    key = name.lower().replace("-", "_")
    near = get_close_matches(key, by_key, n=1, cutoff=0.6)
    near = near or [known for known in by_key if key and known.startswith(key)]
    if near:
        message = f"there is no {kind} '{name}'; did you mean '{by_key[near[0]]}'?"
    else:
        listed = ", ".join(names[:MAX_LISTED_NAMES]) + (", ..." if len(names) > MAX_LISTED_NAMES else "")
        message = f"there is no {kind} '{name}'; there are: {listed or 'none'}{'.' if hint else ''}"
    return f"{message} {hint}" if hint else message
