"""Diagrams of a network as SVG, drawn from the network itself: what it calls on a blank image, and what flows where.

A whole network is drawn by blocks, a block by layers. No program beside Python is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.summary import blank_image, block_names
from lenext.models.blocks import Whitening

WIDE, HIGH, GAP, SIDE = 190, 40, 26, 26  # px: a box, the space below it, and beside it
COLORS = {
    "convolution": ("#dbe9f6", "#3b6ea5"),
    "dense": ("#fbe3d0", "#b5651d"),
    "pooling": ("#d8f0e6", "#2f7d5f"),
    "block": ("#e8e1f5", "#6a4fa0"),
    "join": ("#ffffff", "#444b5a"),
    "other": ("#eef0f3", "#6b7383"),
}
QUIET = ("ReLU", "GELU", "Tanh", "Sigmoid", "Dropout", "Flatten", "Permute", "Identity")
SPOKEN = {
    "BatchNorm2d": "Batch norm",
    "LayerNorm2d": "Layer norm",
    "LayerNorm": "Layer norm",
    "GroupNorm": "Group norm",
}
JOINS = {"cat": "concatenate", "add": "+", "__add__": "+", "iadd": "+", "add_": "+", "__iadd__": "+"}


@dataclass(frozen=True)
class Node:
    """A box: what it is called and does, its kind (a key of COLORS), the shape that it gives, the boxes before it."""

    label: str
    kind: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    name: str = ""
    times: int = 1


@dataclass
class Recorder(TorchFunctionMode):
    """Notes which boxes each tensor comes from, while a network runs; joins outside of boxes become boxes too."""

    nodes: list[Node] = field(default_factory=list)
    inside: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.inside or not isinstance(result, Tensor):
            return result
        sources = sources_of(args)
        if len(sources) > 1 and getattr(func, "__name__", "") in JOINS:
            self.nodes.append(Node(JOINS[func.__name__], "join", tuple(result.shape[1:]), sources))
            sources = (len(self.nodes) - 1,)
        if sources:
            result.lenext_from = sources  # type: ignore[attr-defined]
        return result


def sources_of(values: Any) -> tuple[int, ...]:
    """The boxes that tensors, in whatever they are nested, come from."""
    if isinstance(values, Tensor):
        return tuple(getattr(values, "lenext_from", ()))
    if isinstance(values, list | tuple):
        return tuple(dict.fromkeys(source for value in values for source in sources_of(value)))
    return ()


def record(network: nn.Module, input_shape: tuple[int, ...], units: Mapping[str, nn.Module], first: str) -> list[Node]:
    """Run a blank image through; each of `units` is a box."""
    recorder = Recorder()
    recorder.nodes.append(Node(first, "other", tuple(input_shape), ()))
    handles = []
    for name, module in units.items():

        def enter(_: nn.Module, __: Any) -> None:
            recorder.inside += 1

        def leave(module: nn.Module, given: tuple[Any, ...], output: Any, name: str = name) -> None:
            recorder.inside -= 1
            nothing = isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0)
            if recorder.inside or not isinstance(output, Tensor) or nothing:
                return
            kind, label = describe(module)
            recorder.nodes.append(Node(label, kind, tuple(output.shape[1:]), sources_of(given), name))
            output.lenext_from = (len(recorder.nodes) - 1,)  # type: ignore[attr-defined]

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    image = blank_image(network, input_shape)
    image.lenext_from = (0,)  # type: ignore[attr-defined]
    try:
        with evaluation_mode(network), torch.no_grad(), recorder:
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return recorder.nodes


def describe(module: nn.Module) -> tuple[str, str]:
    """A layer's kind and its label, such as `Conv 3x3, 64 /2`."""
    name = type(module).__name__
    kind = "Max" if "Max" in name else "Average"  # of a pooling

    def window(kernel: Any, stride: Any) -> str:
        (tall, wide), (down, across) = (side if isinstance(side, tuple) else (side, side) for side in (kernel, stride))
        step = f" /{down}" if down == across else f" /{down}×{across}"  # noqa: RUF001
        return f"{tall}×{wide}" + (step if max(down, across) > 1 else "")  # noqa: RUF001

    if isinstance(module, Whitening):
        return "convolution", f"Whitening {window(module.kernel_size, module.stride)}, {module.out_channels}"
    if isinstance(module, nn.Conv2d):
        named = {module.in_channels: "Depthwise", 1: "Conv"}  # 1 comes last: with one channel in, nothing is depthwise
        grouped = named.get(module.groups, f"Conv ({module.groups} groups)")
        return "convolution", f"{grouped} {window(module.kernel_size, module.stride)}, {module.out_channels}"
    if isinstance(module, nn.Linear):
        return "dense", f"Dense {module.out_features:,}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return "pooling", f"{kind} pool {window(module.kernel_size, module.stride)}"
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        wanted = module.output_size
        tall, wide = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        if (tall, wide) == (1, 1):
            return "pooling", f"Global {kind.lower()} pool"
        return "pooling", f"{kind} pool to {tall or 'H'}×{wide or 'W'}"  # noqa: RUF001
    if next(module.children(), None) is not None:
        weighted = [one for one in module.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        return describe(weighted[0]) if len(weighted) == 1 else ("block", spaced(name))
    return "other", SPOKEN.get(name, name)


def spaced(name: str) -> str:
    """A class's name in words: BasicBlock to `Basic block`."""
    words = "".join(f" {letter}" if letter.isupper() and at else letter for at, letter in enumerate(name))
    return name if sum(letter.isupper() for letter in name) > 2 else words.capitalize()


def network_boxes(network: nn.Module, input_shape: tuple[int, ...]) -> list[Node]:
    """A network by its blocks; what only changes values (norms, activations) is left out, repeats are counted."""
    parts = dict(network.named_modules())
    names = block_names(network)
    units = {}
    for leaf, block in names.items():
        own = parts.get(block)
        name = block if own is not None and next(own.children(), None) is not None else leaf
        units[name] = parts[name]
    return repeated(without_quiet(record(network, input_shape, units, "image")))


def block_boxes(network: nn.Module, name: str, input_shape: tuple[int, ...]) -> list[Node]:
    """One part of a network by its layers. Raises ConfigurationError for a part that is not there."""
    parts = dict(network.named_modules())
    if name not in parts or not name:
        raise ConfigurationError(
            unknown_name(
                "part of the network", name, sorted((one for one in parts if one), key=lambda one: one.count("."))
            )
        )
    shapes: list[tuple[int, ...]] = []
    handle = parts[name].register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape[1:])))
    try:
        with evaluation_mode(network), torch.no_grad():
            network(blank_image(network, input_shape))
    finally:
        handle.remove()
    inner = parts[name]
    leaves = {key: one for key, one in inner.named_modules() if next(one.children(), None) is None}
    return record(inner, shapes[0], leaves, "input")


def without_quiet(nodes: list[Node]) -> list[Node]:
    """Leave out boxes that keep the shape and have no size of their own; what came after follows what came before."""
    stands_for: dict[int, int] = {}
    kept: list[Node] = []
    for place, node in enumerate(nodes):
        inputs = tuple(dict.fromkeys(stands_for[one] for one in node.inputs))
        quiet = node.label.split(" (")[0] in QUIET or ("norm" in node.label.lower() and node.kind == "other")
        if quiet and len(inputs) == 1:
            stands_for[place] = inputs[0]
            continue
        stands_for[place] = len(kept)
        kept.append(replace(node, inputs=inputs))
    return kept


def repeated(nodes: list[Node]) -> list[Node]:
    """Boxes that follow each other and are the same become one, with how many there are."""
    stands_for: dict[int, int] = {}
    kept: list[Node] = []
    for place, node in enumerate(nodes):
        inputs = tuple(stands_for[one] for one in node.inputs)
        before = kept[inputs[0]] if len(inputs) == 1 else None
        alike = before is not None and (before.label, before.shape, before.kind) == (node.label, node.shape, node.kind)
        if alike and before is not None and node.kind == "block" and inputs[0] == len(kept) - 1:
            kept[-1] = replace(before, times=before.times + 1)
            stands_for[place] = len(kept) - 1
            continue
        stands_for[place] = len(kept)
        kept.append(replace(node, inputs=inputs))
    return kept


def draw_diagram(columns: Sequence[tuple[str, Sequence[Node]]]) -> str:
    """One or more diagrams side by side, each under its title, as an SVG text."""
    drawn, left, tall = [], 0.0, 0.0
    for title, nodes in columns:
        body, width, height = draw_one(title, nodes)
        drawn.append(f'<g transform="translate({left:.0f} 0)">{body}</g>')
        left, tall = left + width, max(tall, height)
    style = (
        "text{font-family:Inter,'Helvetica Neue',Arial,sans-serif;fill:#1f2430}"
        ".t{font-size:17px;font-weight:700}.l{font-size:13px;font-weight:600}.s{font-size:11px;fill:#5b6475}"
        "path{fill:none;stroke:#8a94a6;stroke-width:1.6}"
    )
    arrow = '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    arrow += '<path d="M0 0L8 4L0 8z" style="fill:#8a94a6;stroke:none"/></marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left:.0f}" height="{tall:.0f}" '
        f'viewBox="0 0 {left:.0f} {tall:.0f}"><style>{style}</style><defs>{arrow}</defs>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>\n'
    )


def draw_one(title: str, nodes: Sequence[Node]) -> tuple[str, float, float]:
    """A column's SVG, its width and its height. Boxes stand in rows by their longest way from the image."""
    rows: list[int] = []
    for node in nodes:
        rows.append(1 + max((rows[one] for one in node.inputs), default=-1))
    lanes = lanes_of(nodes, rows)
    most = max(lanes) + 1
    long = any(rows[at] - rows[one] > 1 for at, node in enumerate(nodes) for one in node.inputs)
    width = 2 * SIDE + most * WIDE + (most - 1) * SIDE + (60 if long else 0)
    middle = [SIDE + WIDE / 2 + lane * (WIDE + SIDE) for lane in lanes]
    passed = {row for at, node in enumerate(nodes) for one in node.inputs for row in range(rows[one] + 1, rows[at])}
    for at in range(len(nodes)):  # what joins all, or is before all, stands in the middle
        if rows.count(rows[at]) == 1 and (most == 1 or rows[at] not in passed):
            middle[at] = SIDE + (most * WIDE + (most - 1) * SIDE) / 2
    top = [58 + row * (HIGH + GAP) for row in rows]
    out = [f'<text class="t" x="{SIDE}" y="32">{escape(title)}</text>']
    for at, node in enumerate(nodes):
        for one in node.inputs:
            ends = (middle[one], top[one] + HIGH, middle[at], top[at])
            out.append(edge(*ends, rows[at] - rows[one], half(nodes[one]), half(node)))
    for at, node in enumerate(nodes):
        out.append(box(node, middle[at], top[at]))
    return "".join(out), width, max(top) + HIGH + 24


def lanes_of(nodes: Sequence[Node], rows: Sequence[int]) -> list[int]:
    """Which lane each box stands in: its first input's, if that is free in its row; else the next free one."""
    taken: set[tuple[int, int]] = set()
    lanes: list[int] = []
    for at, node in enumerate(nodes):
        lane = lanes[node.inputs[0]] if node.inputs else 0
        while (rows[at], lane) in taken:
            lane += 1
        taken.add((rows[at], lane))
        lanes.append(lane)
    return lanes


def half(node: Node) -> float:
    """Half of a box's width."""
    return (WIDE if node.kind != "join" else HIGH if node.label == "+" else 110) / 2


def edge(x1: float, y1: float, x2: float, y2: float, span: int, half1: float, half2: float) -> str:
    """An arrow down; one that passes rows by goes around them on the right."""
    if span > 1 and abs(x1 - x2) < 1:
        out, start, end = x1 + WIDE / 2 + 34, y1 - HIGH / 2, y2 + HIGH / 2
        path = f"M{x1 + half1:.0f} {start:.0f}H{out - 12:.0f}Q{out:.0f} {start:.0f} {out:.0f} {start + 12:.0f}"
        path += f"V{end - 12:.0f}Q{out:.0f} {end:.0f} {out - 12:.0f} {end:.0f}H{x2 + half2:.0f}"
        return f'<path d="{path}" marker-end="url(#a)"/>'
    bend = (y1 + y2) / 2 if span == 1 else y2 - GAP / 2
    path = f"M{x1:.0f} {y1:.0f}V{bend - 6:.0f}" if span > 1 else f"M{x1:.0f} {y1:.0f}"
    return f'<path d="{path}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}" marker-end="url(#a)"/>'


def box(node: Node, x: float, y: float) -> str:
    """A rounded box with its label and the shape that it gives; a join is a small circle or pill."""
    fill, stroke = COLORS[node.kind]
    wide = 2 * half(node)
    shape = " × ".join(map(str, node.shape))  # noqa: RUF001
    label = node.label + (f"  × {node.times}" if node.times > 1 else "")  # noqa: RUF001
    radius = HIGH / 2 if node.kind == "join" else 8
    rect = f'<rect x="{x - wide / 2:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{HIGH}" rx="{radius:.0f}" '
    rect += f'fill="{fill}" stroke="{stroke}"/>'
    if node.label == "+":
        return rect + f'<text class="t" x="{x:.0f}" y="{y + 26:.0f}" text-anchor="middle">+</text>'
    return (
        rect + f'<text class="l" x="{x:.0f}" y="{y + 17:.0f}" text-anchor="middle">{escape(label)}</text>'
        f'<text class="s" x="{x:.0f}" y="{y + 32:.0f}" text-anchor="middle">{shape}</text>'
    )
