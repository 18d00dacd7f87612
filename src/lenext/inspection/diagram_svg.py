"""Draw a diagram as SVG."""

from html import escape

from lenext.inspection.diagram import COLORS, Box, Column, Command, Drawing

STYLE = (
    "text{font-family:Inter,'Helvetica Neue',Arial,sans-serif;fill:#1f2430}"
    ".t{font-size:17px;font-weight:700}.l{font-size:13px;font-weight:600}.s{font-size:11px;fill:#5b6475}"
    "path{fill:none;stroke:#8a94a6;stroke-width:1.6}"
)
ARROW = (
    '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" style="fill:#8a94a6;stroke:none"/></marker>'
)


def to_svg(drawing: Drawing) -> str:
    """Return a drawing as an SVG document."""
    width, height = drawing.size
    groups = "".join(
        f'<g transform="translate({x:.0f} {y:.0f})">{draw_column(column)}</g>'
        for column, (x, y) in zip(drawing.columns, drawing.corners(), strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><style>{STYLE}</style><defs>{ARROW}</defs>'
        f'<rect width="100%" height="100%" fill="white"/>{groups}</svg>\n'
    )


def draw_column(column: Column) -> str:
    """Return the title, the edges and the boxes of a graph."""
    title = f'<text class="t" x="26" y="32">{escape(column.title)}</text>'
    edges = "".join(f'<path d="{path_data(edge)}" marker-end="url(#a)"/>' for edge in column.edges)
    return title + edges + "".join(map(draw_box, column.boxes))


def path_data(edge: tuple[Command, ...]) -> str:
    """Return the `d` of a path."""
    return "".join(name + " ".join(f"{x:.0f} {y:.0f}" for x, y in points) for name, points in edge)


def draw_box(box: Box) -> str:
    """Return a box with its two lines; a volume has an upper and a right side, too."""
    fill, stroke = COLORS[box.kind]
    x, y, width, height, depth = box.x, box.y, box.width, box.height, box.depth
    sides = ""
    if depth:
        for corners in (
            ((x, y), (x + depth, y - depth), (x + width + depth, y - depth), (x + width, y)),
            (
                (x + width, y), (x + width + depth, y - depth),
                (x + width + depth, y + height - depth), (x + width, y + height),
            ),
        ):  # fmt: skip
            points = " ".join(f"{px:.0f},{py:.0f}" for px, py in corners)
            sides += f'<polygon points="{points}" fill="{stroke}" fill-opacity=".35" stroke="{stroke}"/>'
    rect = f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="{box.radius:.0f}" '
    rect += f'fill="{fill}" stroke="{stroke}"/>'
    middle = x + width / 2
    if box.label == "+":
        return (
            sides + rect + f'<text class="t" x="{middle:.0f}" y="{box.label_y + 9:.0f}" text-anchor="middle">+</text>'
        )
    return (
        sides + rect + f'<text class="l" x="{middle:.0f}" y="{box.label_y:.0f}" text-anchor="middle">'
        f'{escape(box.label)}</text><text class="s" x="{middle:.0f}" y="{box.label_y + 15:.0f}" text-anchor="middle">'
        f"{box.detail}</text>"
    )
