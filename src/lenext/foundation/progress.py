"""Progress of long work: a live bar on a terminal, plain lines elsewhere, nothing in a library call."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lenext.foundation.streams import plain_lines
from lenext.foundation.terminal import SafeConsole

Advance = Callable[[int], None]
"""Called with the amount that has been done since the last call."""

ERROR_CONSOLE = SafeConsole(stderr=True)
MIN_COUNT_FOR_BAR = 200
LINE_SECONDS = 10.0


@contextmanager
def byte_bar(title: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show progress in bytes on standard error."""
    if not ERROR_CONSOLE.is_terminal:
        ERROR_CONSOLE.print(f"{title} ({total / 1e6:.1f} MB)", soft_wrap=True)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERROR_CONSOLE, transient=True) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def count_bar(title: str, total: int, *, min_total: int = MIN_COUNT_FOR_BAR) -> Iterator[Advance]:
    """Show a count on standard error: a bar on a terminal; elsewhere a line at once and every ten seconds.

    Args:
        title: What is being done.
        total: Number of steps.
        min_total: With fewer steps nothing is shown, as they take no time.
    """
    if total < min_total or not (ERROR_CONSOLE.is_terminal or plain_lines.enabled):
        yield lambda _: None
        return
    if not ERROR_CONSOLE.is_terminal:
        yield count_lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=ERROR_CONSOLE, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


def count_lines(title: str, total: int) -> Advance:
    """Print what is being done, and return a function that prints the count every ten seconds."""
    ERROR_CONSOLE.print(f"{title}: {total:,}", soft_wrap=True)
    done, printed = 0, time.monotonic()

    def advance(amount: int) -> None:
        nonlocal done, printed
        done += amount
        if time.monotonic() - printed >= LINE_SECONDS:
            printed = time.monotonic()
            ERROR_CONSOLE.print(f"{title}: {done:,} of {total:,}", soft_wrap=True)

    return advance
