"""Where a tensor's values stand in the image, and how much of it each depends on, through any arrangement of axes.

Each axis of a tensor is a product of runs: of channels, of rows, of columns, or, after a reshape, of several of them.
So the same few rules hold for maps, for words of a transformer and for space-to-depth. After upsampling, a field is
exact to within the stride before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

Pair = tuple[float, float]  # down and across


@dataclass(frozen=True)
class Run:
    """Values along an axis; step: pixels down and across from one to the next, (0, 0) where they share a place."""

    size: int
    step: Pair = (0.0, 0.0)

    @property
    def moves(self) -> bool:
        """Whether the values stand at different places."""
        return self.step != (0.0, 0.0)


Axis = tuple[Run, ...]


@dataclass(frozen=True)
class Seen:
    """What the values of a tensor depend on.

    fields: pixels down and across of the receptive field; start: the pixel in its middle, for the first value; strides:
    pixels between neighbours; axes: how the values are arranged. convolutions, dense: weighted layers on the longest
    way here. Norms over a whole image are left out of the field.
    """

    fields: Pair = (1.0, 1.0)
    strides: Pair = (1.0, 1.0)
    start: Pair = (0.0, 0.0)
    axes: tuple[Axis, ...] = ()
    convolutions: int = 0
    dense: int = 0

    @property
    def depth(self) -> int:
        """Weighted layers on the longest way."""
        return self.convolutions + self.dense

    @property
    def stride(self) -> int:
        """Pixels between neighbours on the wider side."""
        return max(1, round(max(self.strides)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(run.size for run in axis) for axis in self.axes)

    def step_along(self, axis: int, side: int) -> float | None:
        """Pixels down (side 0) or across (side 1) from one value of an axis to the next, where it goes only there."""
        run = single(self.axes[axis]) if axis < len(self.axes) else None
        return run.step[side] if run and run.step[side] > 0 and not run.step[1 - side] else None

    def receptive_field(self, height: int, width: int) -> int:
        """Pixels on the wider side, of an image of that size."""
        return max(min(ceil(field - 1e-6), size) for field, size in zip(self.fields, (height, width), strict=True))


def of_image(shape: Sequence[int]) -> Seen:
    """An image (N, C, H, W) itself."""
    count, channels, height, width = shape
    return Seen(axes=((Run(count),), (Run(channels),), (Run(height, (1.0, 0.0)),), (Run(width, (0.0, 1.0)),)))


def along(first: Pair, second: Pair, factor: float = 1.0) -> Pair:
    """The sum of a pair and a multiple of another."""
    return first[0] + factor * second[0], first[1] + factor * second[1]


def times(pair: Pair, factor: float) -> Pair:
    return pair[0] * factor, pair[1] * factor


def spread(seen: Seen, axis: int) -> Seen:
    """Let each value depend on all along an axis, as a sum over it does; the axis stays."""
    fields, start = seen.fields, seen.start
    for run in seen.axes[axis]:
        fields = along(fields, (abs(run.step[0]), abs(run.step[1])), run.size - 1)
        start = along(start, run.step, (run.size - 1) / 2)
    return replace(seen, fields=fields, start=start)


def contract(seen: Seen, axes: Iterable[int], size: int = 1) -> Seen:
    """Sum over axes, which become `size` values that share a place."""
    for axis in axes:
        seen = with_axis(spread(seen, axis), axis, (Run(size),))
    return seen


def with_axis(seen: Seen, place: int, axis: Axis) -> Seen:
    axes = list(seen.axes)
    axes[place] = axis
    return replace(seen, axes=tuple(axes))


def single(axis: Axis) -> Run | None:
    """An axis as one run, where it is evenly spaced; values that are repeated count as spread between their places."""
    runs = [run for run in axis if run.size > 1] or list(axis[-1:])
    if not runs:
        return Run(1)
    whole = runs[-1]
    for run in reversed(runs[:-1]):
        even = along(run.step, whole.step, -whole.size) == (0.0, 0.0)
        if not even and whole.moves:
            return None
        whole = Run(run.size * whole.size, whole.step if even else times(run.step, 1 / whole.size))
    return whole


def window(
    seen: Seen, axis: int, kernel: float, stride: float, size: int, padding: float = 0.0, dilation: int = 1
) -> Seen:
    """Slide a window of `kernel` values along an axis, which becomes `size` long; any numbers, for resizing."""
    run = single(seen.axes[axis])
    if run is None:  # unevenly spaced, such as the words of a transformer
        return contract(seen, [axis], size)
    reach = dilation * (kernel - 1)
    fields = along(seen.fields, (abs(run.step[0]), abs(run.step[1])), reach)
    start = along(seen.start, run.step, reach / 2 - padding)
    down, across = (stride if step else 1.0 for step in run.step)
    strides = (seen.strides[0] * down, seen.strides[1] * across)
    moved = with_axis(seen, axis, (Run(size, times(run.step, stride)),))
    return replace(moved, fields=fields, start=start, strides=strides)


def reshape(seen: Seen, shape: Sequence[int]) -> Seen:
    """Arrange the same values, in the same order, in other axes."""
    left = [run for axis in seen.axes for run in axis if run.size > 1]
    axes: list[Axis] = []
    for size in shape:
        taken: list[Run] = []
        while size > 1:
            if not left:
                return placeless(seen, shape)
            run = left.pop(0)
            if size % run.size and run.size % size:
                return placeless(seen, shape)
            if run.size > size:
                inner = run.size // size
                left.insert(0, Run(inner, run.step))
                run = Run(size, times(run.step, inner))
            taken.append(run)
            size //= run.size
        axes.append(tuple(taken) or (Run(size),))
    return replace(seen, axes=tuple(axes))


def placeless(seen: Seen, shape: Sequence[int]) -> Seen:
    """The same where it is not known how the values are arranged."""
    return replace(seen, axes=tuple((Run(size),) for size in shape))


def permute(seen: Seen, order: Sequence[int]) -> Seen:
    return replace(seen, axes=tuple(seen.axes[axis] for axis in order))


def shift(seen: Seen, axis: int, first: float, size: int, step: int = 1) -> Seen:
    """Begin an axis at another of its values, and go on by `step`: a slice, a crop, or padding where `first` < 0."""
    run = single(seen.axes[axis])
    if run is None:
        return with_axis(seen, axis, (Run(size),))
    moved = with_axis(seen, axis, (Run(size, times(run.step, step)),))
    strides = tuple(old * (step if along else 1) for old, along in zip(seen.strides, run.step, strict=True))
    return replace(moved, start=along(seen.start, run.step, first), strides=(strides[0], strides[1]))


def fitted(seen: Seen, shape: Sequence[int]) -> Seen:
    """The same for a result of another shape, by a function that is not known: axes are matched from the last."""
    if seen.shape == tuple(shape):
        return seen
    if len(shape) < len(seen.axes):
        same = prod(shape) == prod(seen.shape)
        return reshape(seen, shape) if same else placeless(seen, shape)
    axes: list[Axis] = [(Run(size),) for size in shape]
    for place in range(1, len(seen.axes) + 1):
        axis, size = seen.axes[-place], shape[-place]
        run = single(axis)
        if prod(run.size for run in axis) == size:
            axes[-place] = axis
        elif run is not None:
            axes[-place] = (Run(size, run.step),)
    return replace(seen, axes=tuple(axes))


def merged(inputs: Sequence[Seen], shape: Sequence[int]) -> Seen:
    """Of several inputs to one result of this shape: the union of their fields, the longest way."""
    parts = [fitted(seen, shape) for seen in inputs]
    if len(parts) == 1:
        return parts[0]
    moving = [[any(run.moves for run in axis) for axis in part.axes] for part in parts]
    axes = tuple(
        next(
            (part.axes[place] for part, moves in zip(parts, moving, strict=True) if moves[place]), parts[0].axes[place]
        )
        for place in range(len(shape))
    )
    fields, start = [], []
    for side in (0, 1):
        aligned = [part for part in parts if steps(part.axes, side) == steps(axes, side)] or parts
        low = min(part.start[side] - part.fields[side] / 2 for part in aligned)
        high = max(part.start[side] + part.fields[side] / 2 for part in aligned)
        fields.append(max([high - low, *(part.fields[side] for part in parts)]))
        start.append((low + high) / 2)
    longest = max(parts, key=lambda part: part.depth)
    strides = max(part.strides[0] for part in parts), max(part.strides[1] for part in parts)
    return Seen((fields[0], fields[1]), strides, (start[0], start[1]), axes, longest.convolutions, longest.dense)


def steps(axes: Sequence[Axis], side: int) -> list[tuple[int, float]]:
    """Which axes go down (side 0) or across (side 1), and by how much."""
    return [(place, run.step[side]) for place, axis in enumerate(axes) for run in axis if run.step[side]]
