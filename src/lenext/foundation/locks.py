"""Locks that processes hold on files; a process that is killed lets go of them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lenext.foundation.errors import RunError


@contextmanager
def lock_file(path: Path, where: Path, *, wait: bool = False, leave: bool = True) -> Iterator[bool]:
    """Whether this process has the lock to itself, as long as it is entered; with `wait` it always comes to have it.

    where: the folder that is told of in the RunError, where it cannot be locked. leave: the file, once it is let go of;
    filelock notices where one that it waited for has been removed.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        raise RunError(f"{where}: cannot be locked ({error}); is it writable?") from error
    try:
        yield True
    finally:
        if not leave:
            with suppress(OSError):
                path.unlink()
        lock.release()
