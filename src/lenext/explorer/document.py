"""The page as one HTML file: its template, style and scripts, and its data."""

from importlib.resources import files

import jinja2
from markupsafe import Markup

SCRIPTS = ("network.js", "image.js", "drawing.js", "diagram.js", "inspector.js", "explorer.js")


def read(name: str) -> Markup:
    """Return a file of the page as it is."""
    return Markup(files("lenext.explorer").joinpath("page", name).read_text())


def write_document(data: str, arrays: str, **content: object) -> str:
    """Return the page.

    Args:
        data: What the script reads, as JSON.
        arrays: The arrays that it names.
        content: Title, subtitle, and what else the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lenext.explorer", "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("explorer.html").render(
        data=Markup(data),
        arrays=Markup(arrays),
        style=read("explorer.css"),
        script=Markup("\n").join(map(read, SCRIPTS)),
        **content,
    )
