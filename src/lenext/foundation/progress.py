"""Progress of long work: a live bar on a terminal, plain lines elsewhere, nothing in a library call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lenext.foundation.terminal import SafeConsole

Advance = Callable[[int], None]
"""Called with the amount that has been done since the last call."""

ERROR_CONSOLE = SafeConsole(stderr=True)
MIN_COUNT_FOR_BAR = 200


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
def count_bar(title: str, total: int) -> Iterator[Advance]:
    """Show a count on standard error; nothing where it is no terminal, or the total is small."""
    if not ERROR_CONSOLE.is_terminal or total < MIN_COUNT_FOR_BAR:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=ERROR_CONSOLE, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)
