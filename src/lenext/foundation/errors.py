"""The mistakes a user can mend, each told in one line: what is wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 30  # names that a message lists
LONGEST = 1500  # characters of a message


class LenextError(Exception):
    """Something the user can mend. The command line prints its message alone and exits with code 2.

    The message is one line, whatever was put into it: what other people's files say cannot move the cursor, either.
    """

    def __init__(self, message: str = "") -> None:
        line = " ".join(message.split("\n")) if "\n" in message else message
        plain = line if line.isprintable() else "".join(c if c.isprintable() else f"{c!r}"[1:-1] for c in line)
        super().__init__(plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 300]} ... {plain[-300:]}")


class ConfigurationError(LenextError):
    """A network, recipe key, option or device that does not exist or cannot be had."""


class DataError(LenextError):
    """A data set, file or image that is missing, broken or does not fit."""


class DownloadError(LenextError):
    """A file that could not be fetched whole and genuine."""


class RunError(LenextError):
    """A run folder or a weights file that is missing, in the way, broken or made for something else."""


class TrainingError(LenextError):
    """Training that cannot go on, such as a loss that is no longer a number."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, Python's or torch's, says that there was no more memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "allocate" in said or "out of memory" in said


def unknown_name(what: str, given: str, known: Iterable[str], more: str = "") -> str:
    """One line for a name that is not known: the nearest known one, or all of them; then `more`.

    >>> unknown_name("network", "lenett", ["lenet", "resnet18"])
    "there is no network 'lenett'; did you mean 'lenet'?"
    """
    names = list(known)
    folded = {name.lower().replace("-", "_"): name for name in names}
    wanted = given.lower().replace("-", "_")
    near = get_close_matches(wanted, folded, n=1, cutoff=0.6) or [
        name for name in folded if wanted and name.startswith(wanted)
    ]
    shown = ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")
    hint = f"did you mean '{folded[near[0]]}'?" if near else f"there are: {shown or 'none'}"
    return f"there is no {what} '{given}'; {hint}{'' if near or not more else '.'}{' ' if more else ''}{more}"
