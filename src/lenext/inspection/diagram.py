"""Lay out diagrams of a network, from the graph that was recorded from the network itself.

A full network is drawn by blocks, a block by layers. The result is a `Drawing` of boxes and curves, which
`diagram_svg` and the figures of `reporting` draw; no other program is needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lenext.inspection.network_graph import Node

Direction = Literal["portrait", "landscape"]
Shape = Literal["boxes", "volumes"]
Point = tuple[float, float]
Command = tuple[str, tuple[Point, ...]]  # M, L, Q or C with its points, as in SVG

BOX_WIDTH, BOX_HEIGHT, GAP = 190, 40, 26  # px
LANDSCAPE_BOX_WIDTH = 156  # px
CHARACTER_WIDTH, BOX_PADDING = 7.3, 16  # px of a label
CONCATENATE_WIDTH = 110  # px
BYPASS = 60  # px beside the lanes, for edges that pass rows by
TITLE_HEIGHT, MARGIN = 58, 24  # px
MAX_VOLUME, MIN_VOLUME = 120, 14  # px of the largest and the smallest side of a map
CHANNEL_PIXELS = 7  # px of a volume's depth for each doubling of the channels
LABEL_HEIGHT = 40  # px below a volume
COLORS = {  # fill and stroke, by the kind of node
    "convolution": ("#dbe9f6", "#3b6ea5"),
    "dense": ("#fbe3d0", "#b5651d"),
    "pooling": ("#d8f0e6", "#2f7d5f"),
    "norm": ("#fdf3c8", "#8a6d1a"),
    "activation": ("#fbdde3", "#a8324a"),
    "block": ("#e8e1f5", "#6a4fa0"),
    "join": ("#ffffff", "#444b5a"),
    "other": ("#eef0f3", "#6b7383"),
}


@dataclass(frozen=True)
class Box:
    """A node: a rounded rectangle with two lines of text, inside it or, of a volume, below it.

    Attributes:
        x: Left side in pixels.
        y: Top side in pixels.
        width: In pixels.
        height: In pixels.
        radius: Of its corners, in pixels.
        kind: A key of COLORS.
        label: First line.
        detail: Second line.
        depth: Offset of the rear side of a volume in pixels; 0 for a flat box.
        label_y: Baseline of the first line.
    """

    x: float
    y: float
    width: float
    height: float
    radius: float
    kind: str
    label: str
    detail: str
    depth: float
    label_y: float


@dataclass(frozen=True)
class Column:
    """A graph with its title: boxes and the curves between them, in pixels from its own corner."""

    title: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[Command, ...], ...]
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """Graphs beside each other, or, in landscape, below each other."""

    columns: tuple[Column, ...]
    direction: Direction

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        widths, heights = [item.width for item in self.columns], [item.height for item in self.columns]
        return (sum(widths), max(heights)) if self.direction == "portrait" else (max(widths), sum(heights))

    def corners(self) -> list[Point]:
        """Return the upper left corner of each column."""
        corners, left, top = [], 0.0, 0.0
        for column in self.columns:
            corners.append((left, top))
            left, top = (left + column.width, top) if self.direction == "portrait" else (left, top + column.height)
        return corners


def lay_out(
    graphs: Sequence[tuple[str, Sequence[Node]]], direction: Direction = "portrait", shape: Shape = "boxes"
) -> Drawing:
    """Lay out one or more graphs, each under its title.

    Args:
        graphs: Titles and nodes.
        direction: From top to bottom, or from left to right.
        shape: Equal boxes, or volumes whose sides follow the map's and whose depth follows the channels.
    """
    return Drawing(tuple(lay_out_column(title, nodes, direction, shape) for title, nodes in graphs), direction)


def lay_out_column(title: str, nodes: Sequence[Node], direction: Direction, shape: Shape) -> Column:
    """Lay out a graph. The row of a node is its longest path from the input; rows follow the direction."""
    rows: list[int] = []
    for node in nodes:
        rows.append(1 + max((rows[source] for source in node.inputs), default=-1))
    lanes = assign_lanes(nodes, rows)
    lane_count = max(lanes) + 1
    landscape = direction == "landscape"
    extents = [node_extent(node, nodes, landscape, shape) for node in nodes]  # across and along the direction
    lane_width = max(across for across, _ in extents)
    if shape == "volumes" and not landscape:
        lane_width = max(lane_width, LANDSCAPE_BOX_WIDTH)
    label_space = LABEL_HEIGHT if shape == "volumes" and landscape else 0
    inner = lane_count * (lane_width + label_space) + (lane_count - 1) * GAP
    edges = [(source, target) for target, node in enumerate(nodes) for source in node.inputs]
    passed_rows = {row for source, target in edges for row in range(rows[source] + 1, rows[target])}
    across = [lane_width / 2 + lane * (lane_width + label_space + GAP) for lane in lanes]
    for position, row in enumerate(rows):  # a box alone in its row is centred, unless an edge passes it by
        if rows.count(row) == 1 and (lane_count == 1 or row not in passed_rows):
            across[position] = (inner - label_space) / 2
    row_lengths = [max(extents[at][1] for at, row in enumerate(rows) if row == each) for each in range(max(rows) + 1)]
    if shape == "volumes" and landscape:  # room for the labels
        row_lengths = [max(length, LANDSCAPE_BOX_WIDTH - GAP) for length in row_lengths]
    starts = [sum(row_lengths[:each]) + each * GAP for each in range(len(row_lengths) + 1)]
    along = [starts[row] + row_lengths[row] / 2 for row in rows]

    def place(u: float, v: float) -> Point:
        return (MARGIN + v, TITLE_HEIGHT + u) if landscape else (MARGIN + u, TITLE_HEIGHT + v)

    boxes = tuple(
        make_box(node, place(across[at], along[at]), extents[at][::-1] if landscape else extents[at], shape, direction)
        for at, node in enumerate(nodes)
    )
    curves = tuple(
        tuple((name, tuple(place(*point) for point in points)) for name, points in route)
        for route in (
            route_edge(
                (across[source], along[source]), extents[source], (across[target], along[target]), extents[target],
                rows[target] - rows[source], lane_width,
            )
            for source, target in edges
        )
    )  # fmt: skip
    bypass = BYPASS if any(rows[target] - rows[source] > 1 for source, target in edges) else 0
    width, height = place(inner + bypass, starts[-1] - GAP)
    title_width = 10 * len(title) + 2 * MARGIN
    return Column(title, boxes, curves, max(width + MARGIN, title_width), height + MARGIN)


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


def node_extent(node: Node, nodes: Sequence[Node], landscape: bool, shape: Shape) -> tuple[float, float]:
    """Return the pixels of a node across and along the direction."""
    if node.kind == "join":
        width = BOX_HEIGHT if node.label == "+" else CONCATENATE_WIDTH
        return (BOX_HEIGHT, width) if landscape else (width, BOX_HEIGHT)
    if shape == "boxes":
        longest = CHARACTER_WIDTH * max(len(make_label(other)) for other in nodes) + BOX_PADDING
        return (BOX_HEIGHT, max(LANDSCAPE_BOX_WIDTH, longest)) if landscape else (max(BOX_WIDTH, longest), BOX_HEIGHT)
    largest = max(other.shape[-1] for other in nodes if len(other.shape) == 3)
    side = node.shape[-1] if len(node.shape) == 3 else 1
    return (
        MIN_VOLUME + (MAX_VOLUME - MIN_VOLUME) * math.sqrt(side / largest),
        MIN_VOLUME + CHANNEL_PIXELS * math.log2(max(1, node.shape[0])) + (0 if landscape else LABEL_HEIGHT),
    )


def make_box(node: Node, center: Point, size: tuple[float, float], shape: Shape, direction: Direction) -> Box:
    """Return the box of a node around its centre; in portrait a volume leaves room for its label."""
    (x, y), (width, height) = center, size
    if shape == "volumes" and direction == "portrait" and node.kind != "join":
        y, height = y - LABEL_HEIGHT / 2, height - LABEL_HEIGHT
    detail = " × ".join(map(str, node.shape))  # noqa: RUF001
    is_volume = shape == "volumes" and node.kind != "join"
    label_y = y + height / 2 + 16 if is_volume else y - 3
    radius = BOX_HEIGHT / 2 if node.kind == "join" else 0 if is_volume else 8
    depth = 6.0 if is_volume else 0.0
    return Box(
        x - width / 2, y - height / 2, width, height, radius, node.kind, make_label(node), detail, depth, label_y
    )


def make_label(node: Node) -> str:
    """Return the first line of a node: its label, and how many equal blocks it stands for."""
    return node.label + (f"  × {node.times}" if node.times > 1 else "")  # noqa: RUF001


def route_edge(
    start: Point, start_extent: Point, end: Point, end_extent: Point, span: int, lane_width: float
) -> tuple[Command, ...]:
    """Return an arrow along the direction, in (across, along); one that passes rows by goes around them."""
    (u1, v1), (u2, v2) = start, end
    if span > 1 and abs(u1 - u2) < 1:
        side = u1 + lane_width / 2 + 34
        return (
            ("M", ((u1 + start_extent[0] / 2, v1),)), ("L", ((side - 12, v1),)), ("Q", ((side, v1), (side, v1 + 12))),
            ("L", ((side, v2 - 12),)), ("Q", ((side, v2), (side - 12, v2))), ("L", ((u2 + end_extent[0] / 2, v2),)),
        )  # fmt: skip
    first, last = v1 + start_extent[1] / 2, v2 - end_extent[1] / 2
    bend = (first + last) / 2 if span == 1 else last - GAP / 2
    straight: tuple[Command, ...] = (("L", ((u1, bend - 6),)),) if span > 1 else ()
    return (("M", ((u1, first),)), *straight, ("C", ((u1, bend), (u2, bend), (u2, last))))
