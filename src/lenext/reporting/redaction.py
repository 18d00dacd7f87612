"""Redaction of paths: pages show no folder above the working folder, no home folder and no user name."""

import os
import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TypeVar

KEPT_PARTS = 2  # of a path outside of the working folder
DATA_URL = r"data:[\w.+/-]+;base64,[\w+/=]*"
POSIX = r"(?:(?<![\w/.~\\])|(?<=://)|(?<=:///))/(?=[^\s/<>])(?![\w-]+>)"  # not the end of an element
WINDOWS = r"(?<![\w/])[A-Za-z]:[\\/](?=[^\s/\\])"
START_OF_PATH = re.compile(f"(?P<data_url>{DATA_URL})|{POSIX}|{WINDOWS}")
QUERY = re.compile(r"""(\bhttps?://[^\s?"'<>]+)\?[^\s"'<>]*""")
NEVER_IN_PATH = re.compile(r"""[\n\r<>"|]""")
LIKELY_END_OF_PATH = re.compile(r"""[\s'"<>|:;,()\[\]{}!?*`]""")
PARENTS_OF_HOMES = ("home", "Users")
MAX_PATH_CHARACTERS = 4096
MAX_TRIED_ENDS = 20  # places where a path may end

Text = TypeVar("Text", bound=str)


def redact_paths(text: Text) -> Text:
    """Replace each absolute path in a text by the part of it that may be shown.

    A path in the working folder becomes relative to it, so that a command still works there. Of any other path the
    last two parts remain, without those of a home folder. Embedded images stay; so do addresses (https://...), up to a
    `?`, behind which there may be a password.

    Args:
        text: Plain text, or Markup; its type is kept.
    """
    text = type(text)(QUERY.sub(r"\1", text))
    pieces, position = list[str](), 0
    while match := START_OF_PATH.search(text, position):
        start, end = match.span()
        if not match["data_url"]:
            end = end_of_path(text, start)
        path = str(text[start:end])
        pieces += [str(text[position:start]), path if match["data_url"] else shown_path(path)]
        position = end
    return type(text)("".join([*pieces, str(text[position:])])) if pieces else text


def end_of_path(text: str, start: int) -> int:
    """Return the end of the path that starts at `start`: the longest existing path, else before a space or colon."""
    limit = NEVER_IN_PATH.search(text, start, start + MAX_PATH_CHARACTERS)
    last = limit.start() if limit else min(len(text), start + MAX_PATH_CHARACTERS)
    root = next((root for root in shown_roots() if text.startswith(f"{root}{os.sep}", start)), "")
    first = start + max(2, len(str(root)))  # the colon after a drive letter does not end a path
    ends = [*(match.start() for match in LIKELY_END_OF_PATH.finditer(text, first, last)), last]
    existing = (end for end in reversed(ends[:MAX_TRIED_ENDS]) if os.path.exists(str(text[start:end]).rstrip(". ")))
    end = next(existing, ends[0])
    return start + len(str(text[start:end]).rstrip(". "))


def shown_roots() -> list[Path]:
    """Return the working folder, unless home folders are in it, and the home folder."""
    try:
        home = Path.home()
    except RuntimeError:
        return [Path.cwd()]
    folders = [Path.cwd(), home, home.resolve()]
    return [folder for folder in folders if folder == home or not home.is_relative_to(folder)]


def shown_path(path: str) -> str:
    """Return the part of an absolute path that may be shown."""
    absolute: PurePath = PureWindowsPath(path) if path[1:2] == ":" else PurePosixPath(path)
    for root in shown_roots():
        if absolute.is_relative_to(root):
            relative = absolute.relative_to(root)
            return str(relative) if root == Path.cwd() else str(last_parts(relative)) if relative.parts else "~"
    parts = absolute.parts[1:]
    if len(parts) < 2:
        return path  # a folder like /data reveals nothing
    if parts[0] in PARENTS_OF_HOMES:
        parts = parts[2:] or ("~",)
    return str(last_parts(type(absolute)(*parts)))


def last_parts(path: PurePath) -> PurePath:
    """Return the last two parts of a path."""
    return type(path)(*path.parts[-KEPT_PARTS:])
