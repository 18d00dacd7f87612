"""Draw a diagram of a network as a matplotlib figure, for PNG and PDF."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib.path import Path as Outline

from lenext.inspection.diagram import COLORS, Box, Command, Drawing

DOTS_PER_INCH = 96  # of the drawing's pixels
POINTS = 72 / DOTS_PER_INCH  # of a pixel
EDGE, TEXT, MUTED = "#8a94a6", "#1f2430", "#5b6475"
CODES = {"M": (Outline.MOVETO,), "L": (Outline.LINETO,), "Q": (Outline.CURVE3,) * 2, "C": (Outline.CURVE4,) * 3}


def diagram_figure(drawing: Drawing) -> Figure:
    """Draw a diagram at its size in pixels, 96 to the inch."""
    width, height = drawing.size
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for column, (left, top) in zip(drawing.columns, drawing.corners(), strict=True):
        axes.text(left + 26, top + 32, column.title, fontsize=17 * POINTS, fontweight="bold", color=TEXT)
        for edge in column.edges:
            arrow = FancyArrowPatch(
                path=outline(edge, left, top), arrowstyle="-|>", mutation_scale=10 * POINTS, color=EDGE,
                linewidth=1.6 * POINTS, shrinkA=0, shrinkB=0,
            )  # fmt: skip
            axes.add_patch(arrow)
        for box in column.boxes:
            for patch in box_patches(box, left, top):
                axes.add_patch(patch)
            middle = left + box.x + box.width / 2
            if box.label == "+":
                axes.text(middle, top + box.label_y + 9, "+", fontsize=17 * POINTS, fontweight="bold", ha="center")
                continue
            axes.text(
                middle,
                top + box.label_y,
                box.label,
                fontsize=12.5 * POINTS,
                fontweight="bold",
                ha="center",
                color=TEXT,
            )
            axes.text(middle, top + box.label_y + 15, box.detail, fontsize=11 * POINTS, ha="center", color=MUTED)
    return figure


def outline(edge: tuple[Command, ...], left: float, top: float) -> Outline:
    """Return a path of matplotlib."""
    points = [(left + x, top + y) for _, some in edge for x, y in some]
    return Outline(points, [code for name, _ in edge for code in CODES[name]])


def box_patches(box: Box, left: float, top: float) -> list[FancyBboxPatch | Polygon]:
    """Return the front of a box and, of a volume, its upper and right side."""
    fill, stroke = COLORS[box.kind]
    x, y, depth, width = left + box.x, top + box.y, box.depth, POINTS
    right, bottom = x + box.width, y + box.height
    corners = [
        [(x, y), (x + depth, y - depth), (right + depth, y - depth), (right, y)],
        [(right, y), (right + depth, y - depth), (right + depth, bottom - depth), (right, bottom)],
    ]
    sides = [
        Polygon(each, facecolor=stroke, alpha=0.35, edgecolor=stroke, linewidth=width) for each in corners if depth
    ]
    style = f"round,pad=0,rounding_size={box.radius}" if box.radius else "square,pad=0"
    front = FancyBboxPatch(
        (x, y), box.width, box.height, boxstyle=style, facecolor=fill, edgecolor=stroke, linewidth=width
    )
    return [*sides, front]
