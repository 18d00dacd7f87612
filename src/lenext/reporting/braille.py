"""Curves in a terminal: dots of braille letters, two by four in each."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

FIRST = 0x2800  # the empty braille letter
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of the dot at (row, column) of a letter


def chart(
    title: str, lines: Sequence[tuple[Sequence[float | None], str]], wide: int, high: int, percent: bool = False
) -> Text:
    """Lines over their index, each (values, style), in `wide` x `high` letters, a title above, its range at the left.

    Where two lines share a letter, it has the later one's style. What is not finite is left out.
    """
    known = [value for values, _ in lines for value in values if value is not None and math.isfinite(value)]
    low, top = min(known, default=0.0), max(known, default=1.0)
    span = (top - low) or 1.0
    letters = [[FIRST] * wide for _ in range(high)]
    styles = [[""] * wide for _ in range(high)]
    for values, style in lines:
        for x, y in dots(values, low, span, 2 * wide, 4 * high):
            letters[y // 4][x // 2] |= BITS[y % 4][x % 2]
            styles[y // 4][x // 2] = style

    def said(value: float) -> str:
        return f"{value:.0%}" if percent else f"{value:.3g}"

    left = max(len(said(low)), len(said(top)))
    text = Text(f"{'':{left}} {title:<{wide}}")
    for row in range(high):
        name = said(top) if row == 0 else said(low) if row == high - 1 else ""
        text.append(f"\n{name:>{left}} ", "dim")
        for letter, style in zip(letters[row], styles[row], strict=True):
            text.append(chr(letter), style)
    return text


def dots(values: Sequence[float | None], low: float, span: float, columns: int, rows: int) -> list[tuple[int, int]]:
    """Where a line through the values has its dots, (x, y) with y downward; straight between neighbours."""
    last = max(len(values) - 1, 1)
    points = [
        (round(at / last * (columns - 1)), round((1 - (value - low) / span) * (rows - 1)))
        for at, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    found = points[:1]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        found += [
            (x0 + round((x1 - x0) * at / steps), y0 + round((y1 - y0) * at / steps)) for at in range(1, steps + 1)
        ]
    return found
