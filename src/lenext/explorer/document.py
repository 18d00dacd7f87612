"""The page as one HTML file: its template, style and scripts, and its data."""

from collections.abc import Mapping
from importlib.resources import files

from lenext.reporting.page import Verbatim, template_environment

SCRIPTS = ("network.js", "fast.js", "image.js", "drawing.js", "diagram.js", "inspector.js", "explorer.js")


def read(name: str) -> str:
    """Return a file of the page."""
    return files("lenext.explorer").joinpath("page", name).read_text(encoding="utf-8")


def write_document(data: str, arrays: str, runtime: Mapping[str, str], **content: object) -> str:
    """Return the page.

    Args:
        data: What the script reads, as JSON.
        arrays: The arrays that it names.
        runtime: The parts of onnxruntime-web, where it computes the network; else empty.
        content: Title, subtitle, and what else the template shows.
    """
    template = template_environment("lenext.explorer", "page").get_template("explorer.html")
    return template.render(
        data=Verbatim(data),
        arrays=Verbatim(arrays),
        runtime={name: Verbatim(text) for name, text in runtime.items()},
        style=Verbatim(read("explorer.css")),
        script=Verbatim("\n".join(map(read, SCRIPTS))),
        **content,
    )
