"""Standard output and error, and text that cannot move the cursor. Nothing heavy is imported here."""

import _thread
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 control characters except newline and tab, line separators, and marks of the writing direction."""


def printable(text: str) -> str:
    r"""Return text with its control characters escaped.

    >>> printable("a class called \x1b[2J")
    'a class called \\x1b[2J'
    """
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def write_out(text: str) -> None:
    """Write text to standard output."""
    sys.stdout.write(printable(text))


def write_error(message: str) -> None:
    """Write one line to standard error, if it still exists."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(' '.join(message.split()))}\n")


def open_streams() -> None:
    """Open the streams that a process was started without (`>&-`), so that no file takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            stream: IO[str] = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


@contextmanager
def interrupts_in_callbacks() -> Iterator[None]:
    """Repeat a Ctrl-C that arrives in a destructor or a weak reference callback, where Python only prints it."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            later = threading.Timer(0.05, _thread.interrupt_main)  # not here, where it would be printed again
            later.daemon = True
            later.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def discard_stream(stream: IO[str]) -> None:
    """Discard what a stream has buffered and all that follows: its disk is full, or its reader has ended."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class PlainLines:
    """Whether counts are printed where standard error is no terminal: the command line's, not in a library call."""

    enabled = False


plain_lines = PlainLines()
