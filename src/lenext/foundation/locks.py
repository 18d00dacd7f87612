"""Locks that processes hold on files; a killed process releases them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lenext.foundation.errors import RunError


@contextmanager
def lock_file(path: Path, folder: Path, *, wait: bool = False, keep: bool = True) -> Iterator[bool]:
    """Hold a lock for the length of a block, and yield whether this process got it.

    Args:
        path: The lock file.
        folder: The folder that the error message names.
        wait: Whether to wait for the lock; then the process always gets it.
        keep: Whether the file stays when the lock is released; filelock notices if one that it waits for is removed.

    Raises:
        RunError: The file cannot be locked, for instance because the folder cannot be written to.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        raise RunError(f"{folder}: cannot be locked ({error}); is it writable?") from error
    try:
        yield True
    finally:
        if not keep:
            with suppress(OSError):
                path.unlink()
        lock.release()
