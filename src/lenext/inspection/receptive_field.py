"""Receptive fields: the part of the image that each value of a tensor depends on, for any arrangement of its axes.

Each axis of a tensor is a product of factors: channels, rows, columns or, after a reshape, several of them. So the same
few rules hold for maps, for tokens of a transformer and for space-to-depth. After upsampling, a field is exact to
within the stride before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

Pair = tuple[float, float]  # down and across


@dataclass(frozen=True)
class AxisFactor:
    """A factor of an axis: `size` values, and the step in pixels from one to the next; (0, 0) at the same position."""

    size: int
    step: Pair = (0.0, 0.0)

    @property
    def is_spatial(self) -> bool:
        """Whether the values have different positions in the image."""
        return self.step != (0.0, 0.0)


Axis = tuple[AxisFactor, ...]


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a tensor's values; norms over a full image do not count.

    Attributes:
        extent: Height and width of the field, in pixels.
        strides: Pixels between neighbouring values, down and across.
        center: The pixel in the middle of the first value's field, from the top and from the left.
        axes: The factors of each axis.
        convolutions: Convolutions on the longest path from the image.
        dense: Dense layers on that path.
    """

    extent: Pair = (1.0, 1.0)
    strides: Pair = (1.0, 1.0)
    center: Pair = (0.0, 0.0)
    axes: tuple[Axis, ...] = ()
    convolutions: int = 0
    dense: int = 0

    @property
    def depth(self) -> int:
        """Weighted layers on the longest path from the image."""
        return self.convolutions + self.dense

    @property
    def stride(self) -> int:
        """The larger of the two strides, at least 1."""
        return max(1, round(max(self.strides)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(prod(factor.size for factor in axis) for axis in self.axes)

    def step_along(self, axis: int, side: int) -> float | None:
        """Return the pixels down (side 0) or across (side 1) from one value of an axis to the next.

        None if the axis has no even step, or also steps to the other side.
        """
        factor = merge_axis(self.axes[axis]) if axis < len(self.axes) else None
        return factor.step[side] if factor and factor.step[side] > 0 and not factor.step[1 - side] else None

    def size_within(self, height: int, width: int) -> int:
        """Return the larger side of the field in pixels, clipped to an image of that size."""
        return max(min(ceil(pixels - 1e-6), size) for pixels, size in zip(self.extent, (height, width), strict=True))


def image_field(shape: Sequence[int]) -> ReceptiveField:
    """Return the field of an image (N, C, H, W) itself."""
    count, channels, height, width = shape
    return ReceptiveField(
        axes=(
            (AxisFactor(count),),
            (AxisFactor(channels),),
            (AxisFactor(height, (1.0, 0.0)),),
            (AxisFactor(width, (0.0, 1.0)),),
        )
    )


def add_scaled(first: Pair, second: Pair, factor: float = 1.0) -> Pair:
    """Return first + factor * second."""
    return first[0] + factor * second[0], first[1] + factor * second[1]


def scale(pair: Pair, factor: float) -> Pair:
    return pair[0] * factor, pair[1] * factor


def spread_over_axis(field: ReceptiveField, axis: int) -> ReceptiveField:
    """Return the field of values that each depend on all values along an axis, which stays."""
    extent, center = field.extent, field.center
    for factor in field.axes[axis]:
        extent = add_scaled(extent, (abs(factor.step[0]), abs(factor.step[1])), factor.size - 1)
        center = add_scaled(center, factor.step, (factor.size - 1) / 2)
    return replace(field, extent=extent, center=center)


def sum_over_axes(field: ReceptiveField, axes: Iterable[int], size: int = 1) -> ReceptiveField:
    """Return the field of sums over axes, each of which becomes `size` values at the same position."""
    for axis in axes:
        field = replace_axis(spread_over_axis(field, axis), axis, (AxisFactor(size),))
    return field


def replace_axis(field: ReceptiveField, position: int, axis: Axis) -> ReceptiveField:
    axes = list(field.axes)
    axes[position] = axis
    return replace(field, axes=tuple(axes))


def merge_axis(axis: Axis) -> AxisFactor | None:
    """Return an evenly spaced axis as one factor, else None; repeated values count as evenly spaced in between."""
    factors = [factor for factor in axis if factor.size > 1] or list(axis[-1:])
    if not factors:
        return AxisFactor(1)
    merged = factors[-1]
    for factor in reversed(factors[:-1]):
        is_even = add_scaled(factor.step, merged.step, -merged.size) == (0.0, 0.0)
        if not is_even and merged.is_spatial:
            return None
        merged = AxisFactor(factor.size * merged.size, merged.step if is_even else scale(factor.step, 1 / merged.size))
    return merged


def slide_window(
    field: ReceptiveField, axis: int, kernel: float, stride: float, size: int, padding: float = 0.0, dilation: int = 1
) -> ReceptiveField:
    """Slide a window of `kernel` values along an axis, which becomes `size` long; resizing uses fractions of values."""
    factor = merge_axis(field.axes[axis])
    if factor is None:  # unevenly spaced, such as the tokens of a transformer
        return sum_over_axes(field, [axis], size)
    reach = dilation * (kernel - 1)
    extent = add_scaled(field.extent, (abs(factor.step[0]), abs(factor.step[1])), reach)
    center = add_scaled(field.center, factor.step, reach / 2 - padding)
    down, across = (stride if step else 1.0 for step in factor.step)
    strides = (field.strides[0] * down, field.strides[1] * across)
    moved = replace_axis(field, axis, (AxisFactor(size, scale(factor.step, stride)),))
    return replace(moved, extent=extent, center=center, strides=strides)


def reshape(field: ReceptiveField, shape: Sequence[int]) -> ReceptiveField:
    """Arrange the values, in the same order, in other axes."""
    remaining = [factor for axis in field.axes for factor in axis if factor.size > 1]
    axes: list[Axis] = []
    for size in shape:
        factors: list[AxisFactor] = []
        while size > 1:
            if not remaining:
                return without_positions(field, shape)
            factor = remaining.pop(0)
            if size % factor.size and factor.size % size:
                return without_positions(field, shape)
            if factor.size > size:
                inner = factor.size // size
                remaining.insert(0, AxisFactor(inner, factor.step))
                factor = AxisFactor(size, scale(factor.step, inner))
            factors.append(factor)
            size //= factor.size
        axes.append(tuple(factors) or (AxisFactor(size),))
    return replace(field, axes=tuple(axes))


def without_positions(field: ReceptiveField, shape: Sequence[int]) -> ReceptiveField:
    """Return the field without positions, for values whose arrangement is unknown."""
    return replace(field, axes=tuple((AxisFactor(size),) for size in shape))


def permute(field: ReceptiveField, order: Sequence[int]) -> ReceptiveField:
    return replace(field, axes=tuple(field.axes[axis] for axis in order))


def shift(field: ReceptiveField, axis: int, first: float, size: int, step: int = 1) -> ReceptiveField:
    """Start an axis at its value `first` and continue by `step`: a slice, a crop, or padding if `first` < 0."""
    factor = merge_axis(field.axes[axis])
    if factor is None:
        return replace_axis(field, axis, (AxisFactor(size),))
    moved = replace_axis(field, axis, (AxisFactor(size, scale(factor.step, step)),))
    strides = tuple(old * (step if pixels else 1) for old, pixels in zip(field.strides, factor.step, strict=True))
    return replace(moved, center=add_scaled(field.center, factor.step, first), strides=(strides[0], strides[1]))


def fit_to_shape(field: ReceptiveField, shape: Sequence[int]) -> ReceptiveField:
    """Fit a field to a result of another shape, by an unknown function: axes are matched from the last."""
    if field.shape == tuple(shape):
        return field
    if len(shape) < len(field.axes):
        is_same_size = prod(shape) == prod(field.shape)
        return reshape(field, shape) if is_same_size else without_positions(field, shape)
    axes: list[Axis] = [(AxisFactor(size),) for size in shape]
    for position in range(1, len(field.axes) + 1):
        axis, size = field.axes[-position], shape[-position]
        factor = merge_axis(axis)
        if prod(factor.size for factor in axis) == size:
            axes[-position] = axis
        elif factor is not None:
            axes[-position] = (AxisFactor(size, factor.step),)
    return replace(field, axes=tuple(axes))


def merge_fields(inputs: Sequence[ReceptiveField], shape: Sequence[int]) -> ReceptiveField:
    """Merge the fields of several inputs to a result of this shape: the union of their extents, the longest path."""
    parts = [fit_to_shape(field, shape) for field in inputs]
    if len(parts) == 1:
        return parts[0]
    spatial = [[any(factor.is_spatial for factor in axis) for axis in part.axes] for part in parts]
    axes = tuple(
        next(
            (part.axes[position] for part, is_spatial in zip(parts, spatial, strict=True) if is_spatial[position]),
            parts[0].axes[position],
        )
        for position in range(len(shape))
    )
    extent, center = [], []
    for side in (0, 1):
        aligned = [part for part in parts if axis_steps(part.axes, side) == axis_steps(axes, side)] or parts
        low = min(part.center[side] - part.extent[side] / 2 for part in aligned)
        high = max(part.center[side] + part.extent[side] / 2 for part in aligned)
        extent.append(max([high - low, *(part.extent[side] for part in parts)]))
        center.append((low + high) / 2)
    longest = max(parts, key=lambda part: part.depth)
    strides = max(part.strides[0] for part in parts), max(part.strides[1] for part in parts)
    return ReceptiveField(
        (extent[0], extent[1]), strides, (center[0], center[1]), axes, longest.convolutions, longest.dense
    )


def axis_steps(axes: Sequence[Axis], side: int) -> list[tuple[int, float]]:
    """Return the axes that step down (side 0) or across (side 1), and their steps in pixels."""
    return [(position, factor.step[side]) for position, axis in enumerate(axes) for factor in axis if factor.step[side]]
