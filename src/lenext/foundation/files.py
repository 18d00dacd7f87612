"""Files that are written whole or not at all, and their fingerprints."""

import csv
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lenext.foundation.errors import LenextError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block has ended well.

    What it holds is on the disk before it takes the name, and the name is before the block has ended. After an error
    nothing is left. A symbolic link is followed; a device, a pipe or an open file (/dev/stdout) is written through,
    never replaced; permissions of a file that is replaced are kept.
    """
    if is_stream(path):
        with write_through(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if target.is_file():
            shutil.copymode(target, temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise make_write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Return whether a path is no file on a disk: a device, a pipe, a socket, or a descriptor that is open already."""
    try:
        kind = os.stat(path).st_mode
    except OSError:  # not there yet
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
            target = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a reader keeps nobody
            os.set_blocking(target, True)
            with os.fdopen(target, "wb") as out, temporary.open("rb") as file:
                shutil.copyfileobj(file, out)
        except OSError as error:
            raise make_write_error(path, error) from error


def open_regular(path: Path, most_bytes: int | None = None) -> io.BufferedReader:
    """Open a file to read.

    Raises:
        OSError: also for a device, pipe or folder, which may never end or keep its reader waiting, and for a file of
            more than `most_bytes`.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        folder = stat.S_ISDIR(state.st_mode)
        raise OSError(errno.EISDIR if folder else errno.EINVAL, "a folder" if folder else "not a regular file")
    if most_bytes is not None and state.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes")
    return path.open("rb")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return what a file holds; raises OSError as `open_regular`."""
    with open_regular(path, most_bytes) as file:
        return file.read(most_bytes + 1)


def write_atomic(path: Path, content: str | bytes | Sequence[bytes | memoryview], *, read_back: bool = False) -> None:
    """Write a whole file, or leave the one that was there. read_back: and compare what the disk gives with what it was
    given, before the file takes its name."""
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
                f"{error}; {sum(map(len, pieces)):,} bytes are needed there{describe_free_space(path)}"
            ) from error
        raise


def check_written(path: Path, pieces: Sequence[bytes | memoryview]) -> None:
    """Raise OSError where a file does not hold these pieces."""
    with path.open("rb") as file:
        same = all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    if not same:
        raise OSError(errno.EIO, "the disk gave back other bytes than it was given")


def sync_folder(path: Path) -> None:
    """See to it that the names in a folder are on the disk; Windows has no such thing."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_write_error(path: Path, error: OSError) -> LenextError:
    what = "nothing reads from this pipe" if error.errno == errno.ENXIO else error.strerror or error
    return LenextError(f"cannot write {path}: {what}")


def free_space(path: Path) -> int | None:
    """Bytes that can be written where `path` is; None where that cannot be told."""
    with suppress(OSError):
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    return None


def describe_free_space(path: Path) -> str:
    free = free_space(path)
    return "" if free is None else f", {free:,} are free"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            with suppress(OSError):
                path.unlink()


def expand_path(path: str | os.PathLike[str]) -> Path:
    """A path as a person types it; raises LenextError where it can be none."""
    try:
        found = Path(path).expanduser()
        found.exists()  # which a name that is too long does not survive
    except (RuntimeError, OSError, ValueError) as error:
        raise LenextError(f"{path}: not a path ({getattr(error, 'strerror', None) or error})") from error
    return found


def cache_folder() -> Path:
    """Where published data and weights lie: `$LENEXT_DATA`, else `~/.cache/lenext`."""
    return expand_path(os.environ.get("LENEXT_DATA") or Path.home() / ".cache" / "lenext")


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> Path:
    """Create a folder and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LenextError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


@contextmanager
def provisional_folder(path: Path) -> Iterator[Path]:
    """Create a folder for the block; if the block fails, remove what was created of it and is still empty."""
    created = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield make_folder(path)
    except BaseException:
        for folder in created:
            with suppress(OSError):
                folder.rmdir()
        raise


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
