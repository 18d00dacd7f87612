"""Charts as SVG for pages: they take their colours from the page, so that they fit its light and its dark theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

SERIES_CLASSES = ("b", "e", "d", "c", "f", "g", "h", "a")  # of lines, in turn; classes of the page's style
MAX_NAME_CHARACTERS = 24  # of a name beside a point
CHARACTER_WIDTH = 6.4  # pixels
CHART_WIDTH, CHART_HEIGHT = 460, 250  # pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 14, 34  # margins in pixels
POINT_RADIUS = 5
MAX_Y_TICKS, MAX_X_TICKS = 5, 8

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Its name in the legend.
        x: Positions.
        y: Values; None where a value was not measured.
        css_class: Its colour, a class of the page's style.
        dots: Whether each point is drawn as a dot.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    css_class: str = "a"
    dots: bool = False


@dataclass
class Chart:
    """Lines over numbers, with round numbers at the axes.

    Attributes:
        title: Read to those who cannot see the chart.
        lines: The lines.
        x_name: The name of the x axis.
        percent: Whether y values are shares.
        from_zero: Whether the y axis begins at 0.
        width: In pixels.
        height: In pixels.
        marks: Marked points: x, y and their text.
    """

    title: str
    lines: Sequence[Line]
    x_name: str = "epoch"
    percent: bool = False
    from_zero: bool = False
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT
    marks: Sequence[tuple[float, float, str]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        points = [(x, y) for line in self.lines for x, y in zip(line.x, line.y, strict=True) if is_number(y)]
        xs, ys = [x for x, _ in points] or [0.0, 1.0], [y for _, y in points if y is not None] or [0.0, 1.0]
        self.x_low, self.x_high = padded_range(min(xs), max(xs), 0.0)
        low, high = (min(0.0, min(ys)) if self.from_zero else min(ys)), max(ys)
        self.y_low, self.y_high = padded_range(low, high, 0.04)
        if self.percent:
            self.y_high = min(1.0, self.y_high) if high <= 1 else self.y_high

    def x(self, value: float) -> float:
        """Return the horizontal position of a value in pixels."""
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical position of a value in pixels, from the top."""
        return self.height - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (self.height - TOP - BOTTOM)

    def format_y(self, value: float) -> str:
        """Format a y value."""
        return f"{value:.1%}" if self.percent else f"{value:.4g}"

    def draw(self) -> str:
        """Return the SVG; `data-` attributes hold the points of its lines, for the page's tooltips."""
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        edges = f'data-left="{LEFT}" data-right="{right}" data-top="{TOP}" data-bottom="{bottom}"'
        parts = [svg_start(self.width, self.height, self.title, edges)]
        ticks = round_ticks(self.y_low, self.y_high, MAX_Y_TICKS)
        labels = format_percents(ticks) if self.percent else [f"{value:g}" for value in ticks]
        for value, label in zip(ticks, labels, strict=True):
            y = self.y(value)
            parts += [straight_line("grid", LEFT, y, right, y), tick_text(LEFT - 8, y + 4, label, "end")]
        for value in round_ticks(self.x_low, self.x_high, MAX_X_TICKS, integers=True):
            parts.append(tick_text(self.x(value), bottom + 18, f"{value:g}", "middle"))
        parts.append(tick_text(right, self.height - 3, self.x_name, "end"))
        parts += [self.draw_line(line) for line in self.lines]
        for x, y, text in self.marks:
            position = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}"'
            parts.append(f'<circle class="mark" {position} r="4.5"><title>{escape(text)}</title></circle>')
        return "".join([*parts, "</svg>"])

    def draw_line(self, line: Line) -> str:
        """Return the path of a line, and its dots."""
        measured = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None and is_number(y)]
        points = [(self.x(x), self.y(y), x, y) for x, y in measured]
        path = " ".join(f"{'M' if index == 0 else 'L'}{px:.1f} {py:.1f}" for index, (px, py, *_) in enumerate(points))
        data = " ".join(f"{px:.1f},{py:.1f},{x:g},{self.format_y(y)}" for px, py, x, y in points)
        dots = ""
        if line.dots or len(points) == 1:
            css_class = f"dot {line.css_class}"
            dots = "".join(f'<circle class="{css_class}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py, *_ in points)
        names = f'data-name="{escape(line.name)}" data-points="{data}"'
        return f'<path class="line {line.css_class}" d="{path}" {names}/>{dots}'


@dataclass(frozen=True)
class Mark:
    """A point of a scatter chart with its name, filled or as a ring."""

    x: float
    y: float
    name: str
    filled: bool


@dataclass(frozen=True)
class Scatter:
    """Named points of shares (y) over costs (x, on a logarithmic axis)."""

    title: str
    marks: Sequence[Mark]
    x_name: str

    def draw(self) -> str:
        """Return the SVG."""
        xs, ys = [math.log10(mark.x) for mark in self.marks], [mark.y for mark in self.marks]
        x_low, x_high = padded_range(min(xs), max(xs), 0.12)
        y_low, y_high = padded_range(min(ys), max(ys), 0.12)
        right, bottom = CHART_WIDTH - RIGHT, CHART_HEIGHT - BOTTOM

        def x(value: float) -> float:
            return LEFT + (value - x_low) / (x_high - x_low) * (right - LEFT)

        def y(value: float) -> float:
            return bottom - (value - y_low) / (y_high - y_low) * (bottom - TOP)

        parts = [svg_start(CHART_WIDTH, CHART_HEIGHT, self.title)]
        ticks = [tick for tick in round_ticks(y_low, y_high, MAX_Y_TICKS) if tick <= 1]
        for value, label in zip(ticks, format_percents(ticks), strict=True):
            line = straight_line("grid", LEFT, y(value), right, y(value))
            parts += [line, tick_text(LEFT - 8, y(value) + 4, label, "end")]
        for power in log_ticks(x_low, x_high):
            parts.append(tick_text(x(power), bottom + 18, short_number(10**power), "middle"))
        parts.append(tick_text(right, CHART_HEIGHT - 3, self.x_name, "end"))
        points = [(x(logarithm), y(mark.y), mark) for mark, logarithm in zip(self.marks, xs, strict=True)]
        occupied = [
            (px - POINT_RADIUS, py - POINT_RADIUS, px + POINT_RADIUS, py + POINT_RADIUS) for px, py, _ in points
        ]
        for px, py, mark in sorted(points, key=lambda point: point[1]):
            parts.append(draw_point(px, py, mark))
            name = mark.name if len(mark.name) <= MAX_NAME_CHARACTERS else f"{mark.name[: MAX_NAME_CHARACTERS - 1]}…"
            occupied.append(box := free_box(px, py, CHARACTER_WIDTH * len(name), occupied))
            parts.append(tick_text((box[0] + box[2]) / 2, box[3] - 3, name, "middle"))
        return "".join([*parts, "</svg>"])


def draw_point(px: float, py: float, mark: Mark) -> str:
    """Return the circle of a mark, with its values as a title."""
    title = escape(f"{mark.name}: {mark.y:.2%} at {mark.x:,.4g}")
    css_class = "dot b" if mark.filled else "ring b"
    return f'<circle class="{css_class}" cx="{px:.1f}" cy="{py:.1f}" r="{POINT_RADIUS}"><title>{title}</title></circle>'


def free_box(px: float, py: float, width: float, occupied: Sequence[Box]) -> Box:
    """Return where the name of a point goes: above, below or beside it, in the first free box.

    Where all boxes overlap others, the first one is returned.
    """
    beside = px - 9 - width / 2, px + 9 + width / 2
    places = [(px, py - 11), (px, py + 19), *((middle, py + 4) for middle in beside)]
    places += [(middle, py + 4 + 13 * rows * side) for rows in (1, 2, 3) for side in (-1, 1) for middle in beside]
    boxes = [(middle - width / 2, base - 10, middle + width / 2, base + 3) for middle, base in places]
    right, bottom = CHART_WIDTH, CHART_HEIGHT - BOTTOM
    inside = [box for box in boxes if box[0] >= LEFT and box[1] >= 0 and box[2] <= right and box[3] <= bottom]
    free = (box for box in inside if not any(overlap(box, other) for other in occupied))
    return next(free, (inside or boxes)[0])


def overlap(first: Box, second: Box) -> bool:
    """Whether two boxes overlap."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def format_percents(values: Sequence[float]) -> list[str]:
    """Format shares as per cent, all with the fewest digits that distinguish them."""
    digits = next((number for number in (0, 1) if all(abs(100 * v - round(100 * v, number)) < 1e-6 for v in values)), 2)
    return [f"{value:.{digits}%}" for value in values]


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis between two logarithms: 1, 2 and 5 times powers of ten.

    A long axis has powers of ten alone, a short one round numbers.
    """
    if high - low < 0.6:
        return [math.log10(tick) for tick in round_ticks(10**low, 10**high, 4) if tick > 0]
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low < 2 else (1,)
    ticks = (power + math.log10(factor) for power in powers for factor in factors)
    return [tick for tick in ticks if low <= tick <= high]


def short_number(value: float) -> str:
    """Format a number with its unit: 20, 500, 2 k, 50 M, 1 G."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def svg_start(width: float, height: float, label: str, attributes: str = "") -> str:
    """Return the opening tag of a chart."""
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" {attributes}>'


def straight_line(css_class: str, x1: float, y1: float, x2: float, y2: float, attributes: str = "") -> str:
    """Return a straight line."""
    return f'<line class="{css_class}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {attributes}/>'


def tick_text(x: float, y: float, text: str, anchor: str) -> str:
    """Return a small text; `anchor` is start, middle or end."""
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def is_number(value: float | None) -> bool:
    """Whether a value was measured and is finite."""
    return value is not None and math.isfinite(value)


def padded_range(low: float, high: float, margin: float) -> tuple[float, float]:
    """Widen a range at each end by a fraction of its length; an empty one becomes a range around its value."""
    if high <= low:
        high, low = low + (abs(low) or 1) * 0.5, low - (abs(low) or 1) * 0.5 * (margin > 0)
    return (low if low == 0 else low - margin * (high - low)), high + margin * (high - low)


def round_ticks(low: float, high: float, max_ticks: int, *, integers: bool = False) -> list[float]:
    """Return about `max_ticks` round numbers between two, whole ones alone where asked."""
    smallest = (high - low) / max_ticks
    power = 10.0 ** math.floor(math.log10(smallest))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= smallest)
    step = max(1.0, round(step)) if integers and high - low >= 1 else step
    first = math.ceil(low / step - 1e-9)
    candidates = (round(number * step, 12) for number in range(first, first + max_ticks + 2))
    return [tick for tick in candidates if tick <= high + 1e-9 * step]


def share_bar(share: float, css_class: str = "a") -> str:
    """Return a bar that is filled to a share of its width."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    track = '<rect class="track" width="100" height="8"/>'
    filled = f'<rect class="{css_class}" width="{100 * share:.1f}" height="8"/>'
    return f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none">{track}{filled}</svg>'


def reliability_chart(bins: Sequence[tuple[float, float, int]], side: int = 250) -> str:
    """Return the reliability diagram: accuracy by probability, and the diagonal of a calibrated network.

    Args:
        bins: For each tenth of probability its mean probability, its accuracy and its number of predictions.
        side: Width and height in pixels.
    """
    inner, right = side - LEFT - RIGHT, side - RIGHT
    total = max((count for _, _, count in bins), default=1)
    parts = [svg_start(side, side, "reliability diagram")]

    def y(share: float) -> float:
        return side - BOTTOM - share * (side - TOP - BOTTOM)

    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(straight_line("grid", LEFT, y(value), right, y(value)))
        parts.append(tick_text(LEFT - 8, y(value) + 4, f"{value:.0%}", "end"))
        parts.append(tick_text(LEFT + value * inner, side - BOTTOM + 18, f"{value:.0%}", "middle"))
    for mean, accuracy, count in bins:
        left = LEFT + min(9, int(mean * 10)) / 10 * inner
        title = f"{count:,} predictions: probability {mean:.1%}, accuracy {accuracy:.1%}"
        position = f'x="{left + 1:.1f}" y="{y(accuracy):.1f}" width="{inner / 10 - 2:.1f}"'
        height, opacity = max(0.0, y(0) - y(accuracy)), 0.35 + 0.65 * math.sqrt(count / total)
        size = f'height="{height:.1f}" opacity="{opacity:.2f}"'
        parts.append(f'<rect class="fill b" {position} {size}><title>{title}</title></rect>')
    parts.append(straight_line("line a", LEFT, y(0), right, y(1), 'stroke-dasharray="4 4"'))
    parts.append(tick_text(right, side - 3, "predicted probability", "end"))
    return "".join([*parts, "</svg>"])
