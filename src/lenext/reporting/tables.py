"""Tables and JSON on standard output. No torch here."""

import io
import json
from collections.abc import Sequence
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from lenext.foundation.streams import UNPRINTABLE, printable, write_out
from lenext.foundation.terminal import SafeConsole

UNLIMITED_WIDTH = 100_000  # characters


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool = False, right: Sequence[str] = ()) -> None:
    """Print rows with the same keys, as a table or as JSON.

    Args:
        rows: Values by column name.
        as_json: Whether JSON is printed.
        right: The columns aligned at the right.
    """
    if as_json:
        print_json(rows)
    elif not rows:
        write_out("none\n")
    else:
        print_table(list(rows[0]), [[format_cell(value) for value in row.values()] for row in rows], right=right)


def format_cell(value: object) -> str:
    """Format a value of a table: shares in per cent, whole numbers with thousands separated, None as an empty text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_json(content: Any) -> None:
    """Print a value as indented JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_out(UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")  # an escape of JSON's own


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Sequence[str] = ()
) -> None:
    """Print a table; where standard output is no terminal, in its natural width."""
    columns = {name: "right" if name.rpartition("_")[0] in right or name in right else "left" for name in header}
    console = SafeConsole()
    if not console.is_terminal:
        console = SafeConsole(width=UNLIMITED_WIDTH)
    console.print(build_table(title, columns, rows))


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return a table as plain text, in its natural width."""
    columns = {name: "right" if name in right else "left" for name in header}
    console = SafeConsole(width=UNLIMITED_WIDTH, file=io.StringIO())
    console.print(build_table("", columns, rows))
    return console.file.getvalue()  # type: ignore[attr-defined]


def build_table(title: str, columns: dict[str, str], rows: Sequence[Sequence[str]]) -> Table:
    """Build a table for a terminal.

    Args:
        title: Printed above the table.
        columns: The alignment of each column by its name, `left` or `right`.
        rows: One text per column.
    """
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, alignment in columns.items():
        justify: Literal["left", "right"] = "right" if alignment == "right" else "left"
        table.add_column(name, justify=justify, header_style="bold", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def format_bytes(number: int) -> str:
    """Format a number of bytes with its unit: 16.5 kB, 1.2 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"
