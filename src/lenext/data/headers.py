"""Read the headers of many image files, and cache them on disk as long as the files do not change."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lenext.data.images import open_image
from lenext.foundation.errors import DataError, LenextError
from lenext.foundation.files import cache_folder, write_atomic
from lenext.foundation.progress import count_bar

MIN_CACHED_FILES = 1000  # fewer are not worth a cache


@dataclass(frozen=True)
class Header:
    """Colour mode and size in pixels of an image, from its file's header."""

    mode: str
    height: int
    width: int


def read_headers(root: Path, paths: Sequence[str]) -> list[Header | DataError]:
    """Return the header of each file below `root`, or its error."""
    cache = HeaderCache(root) if len(paths) >= MIN_CACHED_FILES else None
    headers: list[Header | DataError] = []
    with count_bar("looking at images", len(paths)) as advance:
        for path in paths:
            headers.append(cache.read_header(path) if cache else read_header(path))
            advance(1)
    if cache:
        cache.write()
    return headers


def read_header(path: str) -> Header | DataError:
    """Return the header of a file, or its error."""
    try:
        with open_image(path) as image:
            return Header(image.mode, image.height, image.width)
    except DataError as error:
        return error


class HeaderCache:
    """Headers by path, each with the file's size and modification time, in a file of the cache folder.

    The file may be deleted at any time. Errors while it is read or written are ignored.
    """

    def __init__(self, root: Path) -> None:
        self.root = f"{root}{os.sep}"
        digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
        self.file = cache_folder() / "headers" / f"{digest[:24]}.json"
        self.stored: dict[str, list[int | str]] = {}
        self.current: dict[str, list[int | str]] = {}
        with suppress(OSError, ValueError, AttributeError):
            self.stored = dict(json.loads(self.file.read_text(encoding="utf-8")).items())

    def read_header(self, path: str) -> Header | DataError:
        """Return the cached header if the file has not changed; else read it from the file and cache it."""
        name = path.removeprefix(self.root)  # the same for a relative and an absolute root
        try:
            status = os.stat(path)
        except OSError:
            return read_header(path)
        state: list[int | str] = [status.st_size, status.st_mtime_ns]
        header = self.find(name, state) or read_header(path)
        if isinstance(header, Header):
            self.current[name] = [*state, header.mode, header.height, header.width]
        return header

    def find(self, name: str, state: list[int | str]) -> Header | None:
        """Return the cached header of a file, if it was cached in this state."""
        with suppress(ValueError, TypeError, KeyError):
            size, changed, mode, height, width = self.stored[name]
            if [size, changed] == state:
                return Header(str(mode), int(height), int(width))
        return None

    def write(self) -> None:
        """Write the headers of this start, if they differ from those on disk."""
        if self.current != self.stored:
            with suppress(OSError, LenextError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.file, json.dumps(self.current, separators=(",", ":")))
