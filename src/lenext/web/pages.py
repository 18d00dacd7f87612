"""The files of a page: read once, and served by name, so that no other file can be asked for."""

from functools import cache
from importlib.resources import files

from lenext.foundation.errors import RunError

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}


@cache
def page_files(package: str) -> dict[str, bytes]:
    """Return the files of a package's page by their names below `static`."""
    static = files(package).joinpath("static")
    contents = {each.name: each.read_bytes() for each in static.iterdir() if each.is_file()}
    vendor = static.joinpath("vendor")
    vendored = vendor.iterdir() if vendor.is_dir() else ()
    return contents | {f"vendor/{each.name}": each.read_bytes() for each in vendored if each.is_file()}


def content_of(package: str, name: str) -> tuple[bytes, str]:
    """Return a file of a page and its media type. Raises RunError where there is none."""
    kind = KINDS.get(name[name.rfind(".") :])
    if kind is None or name not in page_files(package):
        raise RunError(f"{name}: there is no such file")
    return page_files(package)[name], kind
