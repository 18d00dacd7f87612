"""Where long work says how far it is: a live bar on a terminal, plain lines elsewhere, nothing in a library call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lenext.foundation.terminal import SafeConsole

Advance = Callable[[int], None]
"""Called with how much has been done since the last call."""

err = SafeConsole(stderr=True)


@contextmanager
def byte_bar(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Progress in bytes, on standard error."""
    if not err.is_terminal:
        err.print(f"{what} ({total / 1e6:.1f} MB)", soft_wrap=True)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def count_bar(what: str, total: int) -> Iterator[Advance]:
    """Progress in things done, on standard error; nothing where there is no terminal or little to do."""
    if not err.is_terminal or total < 200:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)
