"""What the headers of many image files say, remembered between starts as long as the files do not change."""

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

WORTH = 1000  # files from which on it is worth remembering them


@dataclass(frozen=True)
class Header:
    """Colour mode and size in pixels of an image, as its file says."""

    mode: str
    height: int
    width: int


def read_headers(root: Path, paths: Sequence[str]) -> list[Header | DataError]:
    """The header of each file below `root`, or what is wrong with it."""
    memory = Memory(root) if len(paths) >= WORTH else None
    found: list[Header | DataError] = []
    with count_bar("looking at images", len(paths)) as advance:
        for path in paths:
            found.append(memory.look(path) if memory else look(path))
            advance(1)
    if memory:
        memory.write()
    return found


def look(path: str) -> Header | DataError:
    """Open a file and read its header."""
    try:
        with open_image(path) as image:
            return Header(image.mode, image.height, image.width)
    except DataError as error:
        return error


class Memory:
    """Headers by path, each with the file's size and time of change, in a file of the cache folder that may be deleted
    at any time. What cannot be read there is forgotten, what cannot be written is not kept."""

    def __init__(self, root: Path) -> None:
        self.root = f"{root}{os.sep}"
        digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()
        self.file = cache_folder() / "headers" / f"{digest[:24]}.json"
        self.known: dict[str, list[int | str]] = {}
        self.kept: dict[str, list[int | str]] = {}
        with suppress(OSError, ValueError, AttributeError):
            self.known = dict(json.loads(self.file.read_text(encoding="utf-8")).items())

    def look(self, path: str) -> Header | DataError:
        """What was remembered of a file, if it is as it was, else what it says now, to be remembered."""
        name = path.removeprefix(self.root)  # however the root was spelled
        try:
            now = os.stat(path)
        except OSError:
            return look(path)
        state: list[int | str] = [now.st_size, now.st_mtime_ns]
        header = self.recall(name, state) or look(path)
        if isinstance(header, Header):
            self.kept[name] = [*state, header.mode, header.height, header.width]
        return header

    def recall(self, name: str, state: list[int | str]) -> Header | None:
        """The header that was remembered for this state of a file."""
        with suppress(ValueError, TypeError, KeyError):
            size, changed, mode, height, width = self.known[name]
            if [size, changed] == state:
                return Header(str(mode), int(height), int(width))
        return None

    def write(self) -> None:
        if self.kept != self.known:
            with suppress(OSError, LenextError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.file, json.dumps(self.kept, separators=(",", ":")))
