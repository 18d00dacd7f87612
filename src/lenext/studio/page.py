"""The files of the studio's page: read once, and served by name, so that no other file can be asked for."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from lenext.foundation.errors import RunError
from lenext.studio.guard import studio_policy

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}


@cache
def all_files() -> dict[str, bytes]:
    """Return the files of the page by their names below `static`."""
    static = files("lenext.studio").joinpath("static")
    contents = {each.name: each.read_bytes() for each in static.iterdir() if each.is_file()}
    vendored = static.joinpath("vendor").iterdir()
    return contents | {f"vendor/{each.name}": each.read_bytes() for each in vendored if each.is_file()}


def content_of(name: str) -> tuple[bytes, str]:
    """Return a file and its media type. Raises RunError where there is none."""
    kind = KINDS.get(name[name.rfind(".") :])
    if kind is None or name not in all_files():
        raise RunError(f"{name}: the studio has no such file")
    return all_files()[name], kind


@cache
def policy() -> str:
    """Return the content security policy of the page: its scripts are files, but for the map of their names."""
    inline = re.findall(rb"<script type=\"importmap\">(.*?)</script>", all_files()["studio.html"], re.DOTALL)
    return studio_policy(base64.b64encode(hashlib.sha256(each).digest()).decode() for each in inline)
