"""Standard output and error: text in which other people's names cannot move the cursor. Nothing heavy here."""

import _thread
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls but newline and tab, line separators, and marks that turn the direction of writing."""


def printable(text: str) -> str:
    r"""Return text with its control characters spelled out.

    >>> printable("a class called \x1b[2J")
    'a class called \\x1b[2J'
    """
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def write_out(text: str) -> None:
    """Write text to standard output."""
    sys.stdout.write(printable(text))


def write_error(message: str) -> None:
    """Write one line to standard error; where that is gone, nothing."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(' '.join(message.split()))}\n")


def open_streams() -> None:
    """Give a process the streams that it was started without (`>&-`), so that no file of its own takes their place."""
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
    """Ask again for a Ctrl-C that fell into a destructor or a weak reference, where Python only prints it."""
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
    """Send what a stream still holds, and all that follows, nowhere: its disk is full, or its reader has gone."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
