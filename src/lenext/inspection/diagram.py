"""Draw diagrams of a network as SVG, from the graph that was recorded from the network itself.

A full network is drawn by blocks, a block by layers. No other program is needed.
"""

from collections.abc import Sequence
from html import escape

from lenext.inspection.network_graph import Node

BOX_WIDTH, BOX_HEIGHT, ROW_GAP, COLUMN_GAP = 190, 40, 26, 26  # px
CONCATENATE_WIDTH = 110  # px
BYPASS_WIDTH = 60  # px on the right, for edges that pass rows by
TITLE_HEIGHT, BOTTOM_MARGIN = 58, 24  # px
COLORS = {  # fill and stroke, by the kind of node
    "convolution": ("#dbe9f6", "#3b6ea5"),
    "dense": ("#fbe3d0", "#b5651d"),
    "pooling": ("#d8f0e6", "#2f7d5f"),
    "block": ("#e8e1f5", "#6a4fa0"),
    "join": ("#ffffff", "#444b5a"),
    "other": ("#eef0f3", "#6b7383"),
}


def draw_diagram(columns: Sequence[tuple[str, Sequence[Node]]]) -> str:
    """Draw one or more graphs side by side, each under its title, and return the SVG."""
    groups, left, tallest = [], 0.0, 0.0
    for title, nodes in columns:
        body, width, height = draw_column(title, nodes)
        groups.append(f'<g transform="translate({left:.0f} 0)">{body}</g>')
        left, tallest = left + width, max(tallest, height)
    style = (
        "text{font-family:Inter,'Helvetica Neue',Arial,sans-serif;fill:#1f2430}"
        ".t{font-size:17px;font-weight:700}.l{font-size:13px;font-weight:600}.s{font-size:11px;fill:#5b6475}"
        "path{fill:none;stroke:#8a94a6;stroke-width:1.6}"
    )
    arrow = '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    arrow += '<path d="M0 0L8 4L0 8z" style="fill:#8a94a6;stroke:none"/></marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left:.0f}" height="{tallest:.0f}" '
        f'viewBox="0 0 {left:.0f} {tallest:.0f}"><style>{style}</style><defs>{arrow}</defs>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(groups)}</svg>\n'
    )


def draw_column(title: str, nodes: Sequence[Node]) -> tuple[str, float, float]:
    """Return a graph's SVG, its width and its height. The row of a box is its longest path from the input."""
    rows: list[int] = []
    for node in nodes:
        rows.append(1 + max((rows[source] for source in node.inputs), default=-1))
    lanes = assign_lanes(nodes, rows)
    edges = [(source, target) for target, node in enumerate(nodes) for source in node.inputs]
    lane_count = max(lanes) + 1
    inner_width = lane_count * BOX_WIDTH + (lane_count - 1) * COLUMN_GAP
    has_bypass = any(rows[target] - rows[source] > 1 for source, target in edges)
    width = 2 * COLUMN_GAP + inner_width + (BYPASS_WIDTH if has_bypass else 0)
    center = [COLUMN_GAP + BOX_WIDTH / 2 + lane * (BOX_WIDTH + COLUMN_GAP) for lane in lanes]
    passed_rows = {row for source, target in edges for row in range(rows[source] + 1, rows[target])}
    for position, row in enumerate(rows):  # a box alone in its row is centred, unless an edge passes it by
        if rows.count(row) == 1 and (lane_count == 1 or row not in passed_rows):
            center[position] = COLUMN_GAP + inner_width / 2
    top = [TITLE_HEIGHT + row * (BOX_HEIGHT + ROW_GAP) for row in rows]
    parts = [f'<text class="t" x="{COLUMN_GAP}" y="32">{escape(title)}</text>']
    for source, target in edges:
        ends = (center[source], top[source] + BOX_HEIGHT, center[target], top[target])
        half_widths = box_width(nodes[source]) / 2, box_width(nodes[target]) / 2
        parts.append(draw_edge(*ends, rows[target] - rows[source], *half_widths))
    parts += [draw_box(node, center[position], top[position]) for position, node in enumerate(nodes)]
    return "".join(parts), width, max(top) + BOX_HEIGHT + BOTTOM_MARGIN


def assign_lanes(nodes: Sequence[Node], rows: Sequence[int]) -> list[int]:
    """Return the lane of each box: that of its first input if it is free in the row, else the next free one."""
    occupied: set[tuple[int, int]] = set()
    lanes: list[int] = []
    for row, node in zip(rows, nodes, strict=True):
        lane = lanes[node.inputs[0]] if node.inputs else 0
        while (row, lane) in occupied:
            lane += 1
        occupied.add((row, lane))
        lanes.append(lane)
    return lanes


def box_width(node: Node) -> float:
    if node.kind != "join":
        return BOX_WIDTH
    return BOX_HEIGHT if node.label == "+" else CONCATENATE_WIDTH


def draw_edge(x1: float, y1: float, x2: float, y2: float, span: int, half1: float, half2: float) -> str:
    """Draw an arrow down; an arrow that passes rows by goes around them on the right."""
    if span > 1 and abs(x1 - x2) < 1:
        right, start, end = x1 + BOX_WIDTH / 2 + 34, y1 - BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
        path = f"M{x1 + half1:.0f} {start:.0f}H{right - 12:.0f}Q{right:.0f} {start:.0f} {right:.0f} {start + 12:.0f}"
        path += f"V{end - 12:.0f}Q{right:.0f} {end:.0f} {right - 12:.0f} {end:.0f}H{x2 + half2:.0f}"
        return f'<path d="{path}" marker-end="url(#a)"/>'
    bend = (y1 + y2) / 2 if span == 1 else y2 - ROW_GAP / 2
    path = f"M{x1:.0f} {y1:.0f}V{bend - 6:.0f}" if span > 1 else f"M{x1:.0f} {y1:.0f}"
    return f'<path d="{path}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}" marker-end="url(#a)"/>'


def draw_box(node: Node, x: float, y: float) -> str:
    """Draw a rounded box with its label and the shape of its output; a join is a small circle or pill."""
    fill, stroke = COLORS[node.kind]
    width = box_width(node)
    shape = " × ".join(map(str, node.shape))  # noqa: RUF001
    label = node.label + (f"  × {node.times}" if node.times > 1 else "")  # noqa: RUF001
    radius = BOX_HEIGHT / 2 if node.kind == "join" else 8
    rect = f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="{radius:.0f}" '
    rect += f'fill="{fill}" stroke="{stroke}"/>'
    if node.label == "+":
        return rect + f'<text class="t" x="{x:.0f}" y="{y + 26:.0f}" text-anchor="middle">+</text>'
    return (
        rect + f'<text class="l" x="{x:.0f}" y="{y + 17:.0f}" text-anchor="middle">{escape(label)}</text>'
        f'<text class="s" x="{x:.0f}" y="{y + 32:.0f}" text-anchor="middle">{shape}</text>'
    )
