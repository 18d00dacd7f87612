"""Files that are written whole or not at all, and their fingerprints."""

import csv
import errno
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lenext.foundation.errors import LenextError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name once the block has ended well; on an error nothing is left.

    What it holds is on the disk before it takes the name, and the name is before the block has ended.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
                compare(temporary, pieces)
    except LenextError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_SPACE:
            raise LenextError(f"{error}; {sum(map(len, pieces)):,} bytes are needed there{free_words(path)}") from error
        raise


def compare(path: Path, pieces: Sequence[bytes | memoryview]) -> None:
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


def unwritable(path: Path, error: OSError) -> LenextError:
    return LenextError(f"cannot write {path}: {error.strerror or error}")


def free_space(path: Path) -> int | None:
    """Bytes that can be written where `path` is; None where that cannot be told."""
    with suppress(OSError):
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    return None


def free_words(path: Path) -> str:
    free = free_space(path)
    return "" if free is None else f", {free:,} are free"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            with suppress(OSError):
                path.unlink()


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path as a person types it; raises LenextError where it can be none."""
    try:
        found = Path(path).expanduser()
        found.exists()  # which a name that is too long does not survive
    except (RuntimeError, OSError, ValueError) as error:
        raise LenextError(f"{path}: not a path ({getattr(error, 'strerror', None) or error})") from error
    return found


def cache_folder() -> Path:
    """Where published data and weights lie: `$LENEXT_DATA`, else `~/.cache/lenext`."""
    return expanded(os.environ.get("LENEXT_DATA") or Path.home() / ".cache" / "lenext")


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> Path:
    """Create a folder and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LenextError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
