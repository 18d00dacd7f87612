"""HTML for notebooks: tiles of figures, tables, bars, and images as data addresses."""

import base64
import html
import io
import sys
from collections.abc import Sequence

from PIL import Image

TILE = (
    '<div style="border:1px solid #8884;border-radius:8px;padding:.5em .9em">'
    '<div style="font-size:1.4em;font-weight:600">{}</div><div style="opacity:.7">{}</div></div>'
)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def title_html(title: str, detail: str) -> str:
    """Return a heading with a detail beside it; both may hold any text."""
    return f"<div><b>{html.escape(title)}</b> <span style='opacity:.7'>{html.escape(detail)}</span></div>"


def tiles_html(figures: Sequence[tuple[str, str]]) -> str:
    """Return figures, each with its name below it, in a row."""
    tiles = "".join(TILE.format(html.escape(value), html.escape(name)) for value, name in figures)
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6em;margin:.5em 0">{tiles}</div>'


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of any text."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def progress_html(share: float, status: str) -> str:
    """Return a bar that is filled up to a share, 0 to 1, with a status behind it."""
    bar = f'<progress value="{share:.4f}" max="1" style="width:16em;vertical-align:middle"></progress>'
    return f"<div>{bar} <code>{html.escape(status)}</code></div>"


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
