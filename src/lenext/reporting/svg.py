"""Charts as SVG, for pages: they take their colours from the page, so that they are right by day and by night."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

LOOKS = ("b", "e", "d", "c", "f", "g", "h", "a")  # of lines, in turn; classes of the page's style
LONGEST, LETTER = 24, 6.4  # letters of a name beside a point, and px that one takes
WIDE, HIGH = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 14, 34  # px around the drawing
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""


@dataclass(frozen=True)
class Line:
    """A line of a chart; y is None where it was not measured. look: a class of the page's style."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    look: str = "a"
    dots: bool = False


@dataclass
class Chart:
    """Lines over numbers, with axes that say round numbers. percent: y as shares; log: x by its logarithm."""

    title: str
    lines: Sequence[Line]
    x_name: str = "epoch"
    percent: bool = False
    zero: bool = False
    wide: int = WIDE
    high: int = HIGH
    marks: Sequence[tuple[float, float, str]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        points = [(x, y) for line in self.lines for x, y in zip(line.x, line.y, strict=True) if is_number(y)]
        xs, ys = [x for x, _ in points] or [0.0, 1.0], [y for _, y in points if y is not None] or [0.0, 1.0]
        self.x_low, self.x_high = spread(min(xs), max(xs), 0.0)
        low, high = (min(0.0, min(ys)) if self.zero else min(ys)), max(ys)
        self.y_low, self.y_high = spread(low, high, 0.04)
        if self.percent:
            self.y_high = min(1.0, self.y_high) if high <= 1 else self.y_high

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (self.wide - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.high - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (self.high - TOP - BOTTOM)

    def said(self, value: float) -> str:
        """A value of y as a person reads it."""
        return f"{value:.1%}" if self.percent else f"{value:.4g}"

    def draw(self) -> str:
        """The SVG; its lines' points are in `data-` attributes, for a page that shows them as one hovers."""
        right, bottom = self.wide - RIGHT, self.high - BOTTOM
        edges = f'data-left="{LEFT}" data-right="{right}" data-top="{TOP}" data-bottom="{bottom}"'
        parts = [opened(self.wide, self.high, self.title, edges)]
        heights = ticks(self.y_low, self.y_high, 5)
        names = percents(heights) if self.percent else [f"{value:g}" for value in heights]
        for value, said in zip(heights, names, strict=True):
            y = self.y(value)
            parts += [rule("grid", LEFT, y, right, y), words(LEFT - 8, y + 4, said, "end")]
        for value in ticks(self.x_low, self.x_high, 8, whole=True):
            parts.append(words(self.x(value), bottom + 18, f"{value:g}", "middle"))
        parts.append(words(right, self.high - 3, self.x_name, "end"))
        parts += [self.draw_line(line) for line in self.lines]
        for x, y, said in self.marks:
            place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}"'
            parts.append(f'<circle class="mark" {place} r="4.5"><title>{escape(said)}</title></circle>')
        return "".join([*parts, "</svg>"])

    def draw_line(self, line: Line) -> str:
        known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None and is_number(y)]
        points = [(self.x(x), self.y(y), x, y) for x, y in known]
        path = " ".join(f"{'M' if at == 0 else 'L'}{px:.1f} {py:.1f}" for at, (px, py, _, _) in enumerate(points))
        told = " ".join(f"{px:.1f},{py:.1f},{x:g},{self.said(y)}" for px, py, x, y in points)
        dots = ""
        if line.dots or len(points) == 1:
            look = f"dot {line.look}"
            dots = "".join(f'<circle class="{look}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py, _, _ in points)
        names = f'data-name="{escape(line.name)}" data-points="{told}"'
        return f'<path class="line {line.look}" d="{path}" {names}/>{dots}'


@dataclass(frozen=True)
class Mark:
    """A named point; whether it is filled."""

    x: float
    y: float
    name: str
    filled: bool


@dataclass(frozen=True)
class Scatter:
    """Named points of shares over costs, which are on a scale of powers of ten."""

    title: str
    marks: Sequence[Mark]
    x_name: str

    def draw(self) -> str:
        """The SVG."""
        xs, ys = [math.log10(one.x) for one in self.marks], [one.y for one in self.marks]
        x_low, x_high = spread(min(xs), max(xs), 0.12)
        y_low, y_high = spread(min(ys), max(ys), 0.12)
        right, bottom = WIDE - RIGHT, HIGH - BOTTOM

        def x(value: float) -> float:
            return LEFT + (value - x_low) / (x_high - x_low) * (right - LEFT)

        def y(value: float) -> float:
            return bottom - (value - y_low) / (y_high - y_low) * (bottom - TOP)

        parts = [opened(WIDE, HIGH, self.title)]
        heights = [one for one in ticks(y_low, y_high, 5) if one <= 1]
        for value, said in zip(heights, percents(heights), strict=True):
            parts += [rule("grid", LEFT, y(value), right, y(value)), words(LEFT - 8, y(value) + 4, said, "end")]
        for power in log_ticks(x_low, x_high):
            parts.append(words(x(power), bottom + 18, short_number(10**power), "middle"))
        parts.append(words(right, HIGH - 3, self.x_name, "end"))
        points = [(x(logarithm), y(one.y), one) for one, logarithm in zip(self.marks, xs, strict=True)]
        taken = [(px - 5, py - 5, px + 5, py + 5) for px, py, _ in points]
        for px, py, one in sorted(points, key=lambda point: point[1]):
            look = "dot b" if one.filled else "ring b"
            said = f"{one.name}: {one.y:.2%} at {one.x:,.4g}"
            parts.append(
                f'<circle class="{look}" cx="{px:.1f}" cy="{py:.1f}" r="5"><title>{escape(said)}</title></circle>'
            )
            name = one.name if len(one.name) <= LONGEST else f"{one.name[: LONGEST - 1]}…"
            taken.append(place := free_place(px, py, LETTER * len(name), taken))
            parts.append(words((place[0] + place[2]) / 2, place[3] - 3, name, "middle"))
        return "".join([*parts, "</svg>"])


def free_place(px: float, py: float, wide: float, taken: Sequence[Box]) -> Box:
    """Where a name of that width goes: above, below or beside its point, the first place that neither points nor names
    have; where all are taken, the first."""
    beside = px - 9 - wide / 2, px + 9 + wide / 2
    places = [(px, py - 11), (px, py + 19), *((middle, py + 4) for middle in beside)]
    places += [(middle, py + 4 + 13 * away * side) for away in (1, 2, 3) for side in (-1, 1) for middle in beside]
    boxes = [(middle - wide / 2, base - 10, middle + wide / 2, base + 3) for middle, base in places]
    inside = [one for one in boxes if one[0] >= LEFT and one[1] >= 0 and one[2] <= WIDE and one[3] <= HIGH - BOTTOM]
    return next((one for one in inside if not any(meet(one, other) for other in taken)), (inside or boxes)[0])


def meet(one: Box, other: Box) -> bool:
    """Whether two boxes have something in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def percents(values: Sequence[float]) -> list[str]:
    """Shares as per cent, all with as few digits as tell them."""
    digits = next((number for number in (0, 1) if all(abs(100 * v - round(100 * v, number)) < 1e-6 for v in values)), 2)
    return [f"{value:.{digits}%}" for value in values]


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2, 5 times powers of ten between two; powers alone where these are many, round numbers where
    they are few."""
    if high - low < 0.6:
        return [math.log10(one) for one in ticks(10**low, 10**high, 4) if one > 0]
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low < 2 else (1,)
    return [one for power in powers for factor in factors if low <= (one := power + math.log10(factor)) <= high]


def short_number(value: float) -> str:
    """20, 500, 2 k, 50 M, 1 G."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def opened(wide: float, high: float, label: str, more: str = "") -> str:
    """The beginning of a chart."""
    return f'<svg class="chart" viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(label)}" {more}>'


def rule(look: str, x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    """A straight line."""
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def words(x: float, y: float, said: str, anchor: str) -> str:
    """A small text."""
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def spread(low: float, high: float, margin: float) -> tuple[float, float]:
    """A range that is not empty, a little wider than its ends."""
    if high <= low:
        high, low = low + (abs(low) or 1) * 0.5, low - (abs(low) or 1) * 0.5 * (margin > 0)
    return (low if low == 0 else low - margin * (high - low)), high + margin * (high - low)


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers between two, at most so many."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    step = max(1.0, round(step)) if whole and high - low >= 1 else step
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, first + most + 2) if place * step <= high + 1e-9 * step]


def bar(share: float, look: str = "a") -> str:
    """A bar of a share of its width."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    rest = '<rect class="rest" width="100" height="8"/>'
    part = f'<rect class="{look}" width="{100 * share:.1f}" height="8"/>'
    return f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none">{rest}{part}</svg>'


def reliability(rows: Sequence[tuple[float, float, int]], side: int = 250) -> str:
    """Accuracy by probability: bars of what was right, and the diagonal that a calibrated network would follow."""
    inner, right = side - LEFT - RIGHT, side - RIGHT
    total = max((count for _, _, count in rows), default=1)
    parts = [opened(side, side, "reliability diagram")]

    def high(share: float) -> float:
        return side - BOTTOM - share * (side - TOP - BOTTOM)

    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(rule("grid", LEFT, high(value), right, high(value)))
        parts.append(words(LEFT - 8, high(value) + 4, f"{value:.0%}", "end"))
        parts.append(words(LEFT + value * inner, side - BOTTOM + 18, f"{value:.0%}", "middle"))
    for mean, accuracy, count in rows:
        left = LEFT + min(9, int(mean * 10)) / 10 * inner
        title = f"{count:,} answers: probability {mean:.1%}, right {accuracy:.1%}"
        place = f'x="{left + 1:.1f}" y="{high(accuracy):.1f}" width="{inner / 10 - 2:.1f}"'
        tall, strong = max(0.0, high(0) - high(accuracy)), 0.35 + 0.65 * math.sqrt(count / total)
        size = f'height="{tall:.1f}" opacity="{strong:.2f}"'
        parts.append(f'<rect class="fill b" {place} {size}><title>{title}</title></rect>')
    parts.append(rule("line a", LEFT, high(0), right, high(1), 'stroke-dasharray="4 4"'))
    parts.append(words(right, side - 3, "probability of the answer", "end"))
    return "".join([*parts, "</svg>"])
