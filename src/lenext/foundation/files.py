"""Files that are written whole or not at all, and their fingerprints."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lenext.foundation.errors import LenextError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name once the block has ended well; on an error nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise LenextError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file, or leave the one that was there."""
    with atomic(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


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
