"""Files that are written in full or not at all, and their hashes."""

import csv
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lenext.foundation.errors import LenextError

REPLACE_SECONDS = 1.0
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block ends without an error.

    The content is synced to the disk before it takes the name, and the name before the block ends. After an error
    nothing is left. A symbolic link is followed; a device, a pipe or an open file (/dev/stdout) is written through,
    never replaced; a file that is replaced keeps its permissions.
    """
    if is_stream(path):
        with write_through(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_dir():  # among them `.`, which has no name
        raise LenextError(f"cannot write {path}: it is a folder; give the name of a file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if target.is_file():
            shutil.copymode(target, temporary)
        replace_file(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise make_write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_file(path: Path, target: Path) -> None:
    """Give a file the name of another; on Windows wait a second for a program that has the other one open."""
    until = time.monotonic() + (REPLACE_SECONDS if os.name == "nt" else 0)
    while True:
        try:
            path.replace(target)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.05)
        else:
            return


def is_stream(path: Path) -> bool:
    """Return whether a path is a device, a pipe, a socket or an open descriptor, not a file on a disk."""
    try:
        kind = os.stat(path).st_mode
    except OSError:  # it does not exist yet
        return False
    open_already = str(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))
    return open_already or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


@contextmanager
def write_through(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose content is written into the device or pipe `path` at the end."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, path.name)
        yield temporary
        try:
            target = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))  # do not wait for a reader
            os.set_blocking(target, True)
            with os.fdopen(target, "wb") as out, temporary.open("rb") as file:
                shutil.copyfileobj(file, out)
        except OSError as error:
            raise make_write_error(path, error) from error


def open_regular(path: Path, max_bytes: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: Also for a device, a pipe or a folder, which may never end or block its reader, and for a file of more
            than `max_bytes`.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        folder = stat.S_ISDIR(state.st_mode)
        raise OSError(errno.EISDIR if folder else errno.EINVAL, "a folder" if folder else "not a regular file")
    if max_bytes is not None and state.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes")
    return path.open("rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file; raises OSError as `open_regular` does."""
    with open_regular(path, max_bytes) as file:
        return file.read(max_bytes + 1)


def read_tail(path: Path, max_bytes: int) -> str:
    """Return the last part of a regular file as text. Raises OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - max_bytes))
        return file.read(max_bytes).decode(errors="replace")


def write_atomic(path: Path, content: str | bytes | Sequence[bytes | memoryview], *, read_back: bool = False) -> None:
    """Write a file in full, or leave the old one in place.

    Args:
        path: The file.
        content: The content, or its pieces in order.
        read_back: Whether to read the file and compare it with the content before it replaces the old one.

    Raises:
        LenextError: The file cannot be written.
    """
    pieces = [content.encode()] if isinstance(content, str) else [content] if isinstance(content, bytes) else content
    try:
        with atomic(path) as temporary:
            with temporary.open("wb") as file:
                file.writelines(pieces)
                if read_back:
                    file.flush()
                    os.fsync(file.fileno())
            if read_back:
                check_written(temporary, pieces)
    except LenextError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_SPACE:
            raise LenextError(
                f"{error}; {sum(map(len, pieces)):,} bytes are needed{describe_free_space(path)}"
            ) from error
        raise


def check_written(path: Path, pieces: Sequence[bytes | memoryview]) -> None:
    """Raise OSError if a file does not hold these pieces, one after the other."""
    with path.open("rb") as file:
        same = all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    if not same:
        raise OSError(errno.EIO, "the disk returned other bytes than were written")


def sync_folder(path: Path) -> None:
    """Sync the names in a folder to the disk; Windows has no such operation."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_write_error(path: Path, error: OSError) -> LenextError:
    reason = "nothing reads from this pipe" if error.errno == errno.ENXIO else error.strerror or error
    return LenextError(f"cannot write {path}: {reason}")


def free_space(path: Path) -> int | None:
    """Return the bytes that are free on the disk of `path`; None if that is not known."""
    with suppress(OSError):
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    return None


def describe_free_space(path: Path) -> str:
    free = free_space(path)
    return "" if free is None else f", {free:,} are free"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process has left in a folder."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            with suppress(OSError):
                path.unlink()


def expand_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` expanded; raise LenextError if it is none that the system accepts."""
    try:
        expanded = Path(path).expanduser()
        expanded.exists()  # fails for a name that is too long
        if "\0" in str(expanded):
            raise ValueError("it contains a null character")
    except (RuntimeError, OSError, ValueError) as error:
        raise LenextError(f"{path}: not a path ({getattr(error, 'strerror', None) or error})") from error
    return expanded


def cache_folder() -> Path:
    """Return the folder of published data and weights: `$LENEXT_DATA`, else `~/.cache/lenext`."""
    return expand_path(os.environ.get("LENEXT_DATA") or Path.home() / ".cache" / "lenext")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> Path:
    """Create a folder and its parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LenextError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


@contextmanager
def provisional_folder(path: Path) -> Iterator[Path]:
    """Create a folder for a block; if the block fails, remove the created folders that are still empty."""
    created = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield make_folder(path)
    except BaseException:
        for folder in created:
            with suppress(OSError):
                folder.rmdir()
        raise


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; None is an empty cell."""
    table: list[list[object]] = [list(header), *(list(row) for row in rows)]
    has_returns = any("\r" in cell for row in table for cell in row if isinstance(cell, str))  # only quotes keep them
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if has_returns else csv.QUOTE_MINIMAL)
    writer.writerows(table)
    return text.getvalue()
