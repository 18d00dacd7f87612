"""HTML for notebooks: tiles of figures, and images as data addresses."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

TILE = (
    '<div style="border:1px solid #8884;border-radius:8px;padding:.5em .9em">'
    '<div style="font-size:1.4em;font-weight:600">{}</div><div style="opacity:.7">{}</div></div>'
)


def title_html(title: str, detail: str) -> str:
    """Return a heading with a detail beside it; both may hold any text."""
    return f"<div><b>{html.escape(title)}</b> <span style='opacity:.7'>{html.escape(detail)}</span></div>"


def tiles_html(figures: Sequence[tuple[str, str]]) -> str:
    """Return figures, each with its name below it, in a row."""
    tiles = "".join(TILE.format(html.escape(value), html.escape(name)) for value, name in figures)
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6em;margin:.5em 0">{tiles}</div>'


def image_html(png: bytes, description: str) -> str:
    """Return a PNG image that is part of the page."""
    return f'<img style="max-width:100%" alt="{html.escape(description)}" src="{data_url(png, "png")}">'


def data_url(content: bytes, kind: str) -> str:
    """Return the data URL of an image file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png_bytes(image: Image.Image) -> bytes:
    """Return an image in PNG."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
