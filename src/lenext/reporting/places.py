"""Text without what its paths tell of the machine: folders above the working folder, home folders, user names."""

import os
import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TypeVar

KEPT_PARTS = 2  # of a path that is not in the working folder
EMBEDDED = r"data:[\w.+/-]+;base64,[\w+/=]*"
POSIX = r"(?:(?<![\w/.~\\])|(?<=://)|(?<=:///))/(?=[^\s/<>])(?![\w-]+>)"  # not the end of an element
WINDOWS = r"(?<![\w/])[A-Za-z]:[\\/](?=[^\s/\\])"
BEGINNING = re.compile(f"(?P<embedded>{EMBEDDED})|{POSIX}|{WINDOWS}")
END_OF_TEXT = re.compile(r"""[\n\r<>"|]""")  # which no path goes beyond
END_OF_WORD = re.compile(r"""[\s'"<>|:;,()\[\]{}!?*`]""")  # where a path probably ends
HOMES = ("home", "Users")  # the folders that home folders lie in
MAX_PATH, MAX_ENDS = 4096, 20  # characters of a path, and places where it may end

Text = TypeVar("Text", bound=str)


def without_places(text: Text) -> Text:
    """Replace each absolute path in a text by the part of it that may be shown.

    A path in the working folder becomes relative to it, so that a command still works there. Of any other path the
    last two parts remain, without those of a home folder. Addresses (https://...) and embedded images stay.

    Args:
        text: plain text, or Markup; its type is kept.
    """
    pieces, at = list[str](), 0
    while match := BEGINNING.search(text, at):
        begin, end = match.span()
        if not match["embedded"]:
            end = end_of_path(text, begin)
        path = str(text[begin:end])
        pieces += [str(text[at:begin]), path if match["embedded"] else shown_path(path)]
        at = end
    return type(text)("".join([*pieces, str(text[at:])])) if pieces else text


def end_of_path(text: str, begin: int) -> int:
    """Return where the path that begins there ends: the longest that exists, else before the next space or colon."""
    limit = END_OF_TEXT.search(text, begin, begin + MAX_PATH)
    last = limit.start() if limit else min(len(text), begin + MAX_PATH)
    root = next((root for root in roots() if text.startswith(f"{root}{os.sep}", begin)), "")
    first = begin + max(2, len(str(root)))  # the colon after a drive ends nothing
    ends = [*(match.start() for match in END_OF_WORD.finditer(text, first, last)), last]
    existing = (end for end in reversed(ends[:MAX_ENDS]) if os.path.exists(str(text[begin:end]).rstrip(". ")))
    end = next(existing, ends[0])
    return begin + len(str(text[begin:end]).rstrip(". "))


def roots() -> list[Path]:
    """The working folder, unless home folders lie in it, and the home folder."""
    try:
        home = Path.home()
    except RuntimeError:
        return [Path.cwd()]
    folders = [Path.cwd(), home, home.resolve()]
    return [folder for folder in folders if folder == home or not home.is_relative_to(folder)]


def shown_path(path: str) -> str:
    """Return what may be shown of an absolute path."""
    whole: PurePath = PureWindowsPath(path) if path[1:2] == ":" else PurePosixPath(path)
    for root in roots():
        if whole.is_relative_to(root):
            inside = whole.relative_to(root)
            return str(inside) if root == Path.cwd() else str(last(inside)) if inside.parts else "~"
    parts = whole.parts[1:]
    if len(parts) < 2:
        return path  # /data tells nothing
    if parts[0] in HOMES:
        parts = parts[2:] or ("~",)
    return str(last(type(whole)(*parts)))


def last(path: PurePath) -> PurePath:
    """Return the last parts of a path."""
    return type(path)(*path.parts[-KEPT_PARTS:])
