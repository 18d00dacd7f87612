"""Line charts in a terminal, drawn with braille characters: two by four dots in each."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

BLANK = 0x2800  # the braille character without dots
DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of the dot at (row, column) of a character
DOT_COLUMNS, DOT_ROWS = 2, 4  # of a character

Values = Sequence[float | None]


def draw_chart(title: str, lines: Sequence[tuple[Values, str]], width: int, height: int, percent: bool = False) -> Text:
    """Draw lines over their index, with a title above and the range of their values at the left.

    Args:
        title: The title.
        lines: For each line its values and its style. None and values that are not finite are left out. Where two
            lines share a character, it has the style of the later one.
        width: Characters of the chart, without the range at its left.
        height: Lines of the chart, without the title.
        percent: Whether the values are shares.
    """
    finite = [value for values, _ in lines for value in values if value is not None and math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = (high - low) or 1.0
    characters = [[BLANK] * width for _ in range(height)]
    styles = [[""] * width for _ in range(height)]
    for values, style in lines:
        for x, y in line_dots(values, low, span, DOT_COLUMNS * width, DOT_ROWS * height):
            row, column = y // DOT_ROWS, x // DOT_COLUMNS
            characters[row][column] |= DOT_BITS[y % DOT_ROWS][x % DOT_COLUMNS]
            styles[row][column] = style
    labels = {height - 1: format_value(low, percent), 0: format_value(high, percent)}
    margin = max(map(len, labels.values()))
    text = Text(f"{'':{margin}} {title:<{width}}")
    for row in range(height):
        text.append(f"\n{labels.get(row, ''):>{margin}} ", "dim")
        for character, style in zip(characters[row], styles[row], strict=True):
            text.append(chr(character), style)
    return text


def format_value(value: float, percent: bool) -> str:
    """Format an end of the range of a chart."""
    return f"{value:.0%}" if percent else f"{value:.3g}"


def line_dots(values: Values, low: float, span: float, columns: int, rows: int) -> list[tuple[int, int]]:
    """Return the dots (x, y) of a line through values, y from the top; neighbours are joined by straight lines."""
    last = max(len(values) - 1, 1)
    points = [
        (round(index / last * (columns - 1)), round((1 - (value - low) / span) * (rows - 1)))
        for index, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    dots = points[:1]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        dots += [
            (x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)) for step in range(1, steps + 1)
        ]
    return dots
