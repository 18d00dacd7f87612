"""Tables and JSON on standard output. No torch here."""

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lenext.foundation.streams import UNPRINTABLE, printable, write_out
from lenext.foundation.terminal import SafeConsole


def show(rows: Sequence[dict[str, Any]], as_json: bool, right: Sequence[str] = ()) -> None:
    """A list of like things, as a table or as JSON."""
    if as_json:
        show_json(rows)
    elif not rows:
        write_out("none\n")
    else:
        show_table(list(rows[0]), [[spoken(value) for value in row.values()] for row in rows], right=right)


def spoken(value: object) -> str:
    """A cell for a person."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_json(content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_out(UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")  # an escape of JSON's own


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Sequence[str] = ()
) -> None:
    """A table on standard output; where that is no terminal, as wide as it needs to be."""
    columns = {name: "right" if name.rpartition("_")[0] in right or name in right else "left" for name in header}
    console = SafeConsole()
    if not console.is_terminal:
        console = SafeConsole(width=100_000)
    console.print(table(title, columns, rows))


def table(title: str, columns: dict[str, str], rows: Sequence[Sequence[str]]) -> Table:
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, justify in columns.items():
        made.add_column(name, justify="right" if justify == "right" else "left", header_style="bold", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def bytes_spoken(number: int) -> str:
    """Bytes as a person says them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"
