"""Conversions of torch's functions for whole tensors: sums, products, parts, and other orders of axes."""

from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from lenext.explorer.operations import Builder, UnsupportedError, Value, as_list, converts


@converts(
    "dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "alias", "to", "_to_copy",
    "log_softmax", "_assert_tensor_metadata",
)  # fmt: skip
def keep(graph: Builder, value: Value | None = None, input: Value | None = None, **_: Any) -> Value | None:
    """Return the input: these change nothing, or nothing in the probabilities, which are checked."""
    return input or value


@converts("add")
def convert_add(graph: Builder, value: Any, operand: Any, alpha: float = 1) -> Value:
    return combine(graph, "add", value, operand, alpha)


@converts("sub")
def convert_sub(graph: Builder, value: Any, operand: Any, alpha: float = 1) -> Value:
    return combine(graph, "add", value, operand, -alpha)


@converts("rsub")
def convert_rsub(graph: Builder, value: Any, operand: Any, alpha: float = 1) -> Value:
    return combine(graph, "add", operand, value, -alpha)


@converts("mul")
def convert_mul(graph: Builder, value: Any, operand: Any) -> Value:
    return combine(graph, "multiply", value, operand, 1)


@converts("div")
def convert_div(graph: Builder, value: Any, operand: Any) -> Value:
    if isinstance(operand, Value):
        raise UnsupportedError("`div` by a computed tensor")
    return combine(graph, "multiply", value, 1 / operand, 1)


def combine(graph: Builder, kind: str, first: Any, second: Any, factor: float) -> Value:
    """Add a sum or a product of two values, or of a value and a constant."""
    if isinstance(first, Value) and isinstance(second, Value):
        if factor != 1:
            second = scale(graph, second, factor, 0.0)
        if first.axes != second.axes:
            first, second = graph.ordered(first), graph.ordered(second)
        if len(first.shape) != len(second.shape):
            raise UnsupportedError(f"`{kind}` of tensors of different ranks")
        larger = first if sum(first.shape) >= sum(second.shape) else second
        if tuple(map(max, first.shape, second.shape)) != larger.shape:
            raise UnsupportedError(f"`{kind}` of tensors that enlarge each other")
        smaller = second if larger is first else first
        return graph.add(kind, [larger, smaller], larger)
    value, constant = (first, second) if isinstance(first, Value) else (second, first)
    if value is second and factor != 1:  # a constant minus a value
        return scale(graph, value, factor, constant)
    if kind == "add":
        return scale(graph, value, 1.0, constant * factor)
    return scale(graph, value, constant, 0.0)


def scale(graph: Builder, value: Value, factor: Any, summand: Any) -> Value:
    """Add a product with a constant, and a sum with another; each is a number, or one a channel."""
    tensors = {role: channel_constant(constant, value) for role, constant in (("factor", factor), ("summand", summand))}
    return graph.add("scale", [value], value, tensors)


@converts("cat")
def convert_cat(graph: Builder, tensors: list[Value], dim: int = 0) -> Value:
    values = tensors if all(each.axes == tensors[0].axes for each in tensors) else list(map(graph.ordered, tensors))
    first = values[0]
    if first.axes[dim % (len(first.shape) + 1) - 1] != 0 or dim == 0:
        raise UnsupportedError("`cat` along another axis than the channels")
    shape = (sum(each.shape[0] for each in values), *first.shape[1:])
    return replace(graph.add("concatenate", values, shape), axes=first.axes)


@converts("slice")
def convert_slice(graph: Builder, value: Value, dim: int, start: int | None, end: int | None, step: int) -> Value:
    position = dim % (len(value.shape) + 1)
    axis = value.axes[position - 1] if position else None
    length = 1 if axis is None else value.shape[axis]
    first, last, _ = slice(start, end).indices(length)
    if (first, last, step) == (0, length, 1):
        return value
    if axis != 0 or step != 1:
        raise UnsupportedError("`slice` along another axis than the channels")
    shape = (last - first, *value.shape[1:])
    return replace(graph.add("slice", [value], shape, settings={"start": first}), axes=value.axes)


@converts("split")
def convert_split(graph: Builder, value: Value, split_size: int, dim: int = 0) -> list[Value]:
    length = axis_length(value, dim)
    return [convert_slice(graph, value, dim, start, start + split_size, 1) for start in range(0, length, split_size)]


@converts("split_with_sizes")
def convert_split_with_sizes(graph: Builder, value: Value, split_sizes: list[int], dim: int = 0) -> list[Value]:
    ends = list(accumulate(split_sizes))
    return [convert_slice(graph, value, dim, end - size, end, 1) for end, size in zip(ends, split_sizes, strict=True)]


@converts("chunk")
def convert_chunk(graph: Builder, value: Value, chunks: int, dim: int = 0) -> list[Value]:
    return convert_split(graph, value, -(-axis_length(value, dim) // chunks), dim)


def axis_length(value: Value, dim: int) -> int:
    """Return the length of an axis in the program's order, the batch being the first."""
    position = dim % (len(value.shape) + 1)
    return value.shape[value.axes[position - 1]] if position else 1


@converts("pad")
def convert_pad(
    graph: Builder, value: Value, pad: list[int], mode: str = "constant", fill: float | None = None
) -> Value:
    image = graph.map(value, "pad")
    start, stop, top, bottom = (*pad, 0, 0)[:4]
    if mode != "constant" or fill or len(pad) > 4 or min(pad) < 0:
        raise UnsupportedError("`pad` with anything but zeros")
    channels, height, width = image.shape
    shape = (channels, height + top + bottom, width + start + stop)
    return graph.add("pad", [image], shape, settings={"top": top, "left": start})


@converts("permute")
def convert_permute(graph: Builder, value: Value, dims: list[int]) -> Value:
    order = [axis % (len(value.shape) + 1) for axis in dims]
    if order[0] != 0:
        raise UnsupportedError("`permute` of the batch")
    return replace(value, axes=tuple(value.axes[axis - 1] for axis in order[1:]))


@converts("flatten")
def convert_flatten(graph: Builder, value: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    count = len(value.shape) + 1
    if start_dim % count != 1 or end_dim % count != count - 1:
        raise UnsupportedError("`flatten` of some axes")
    return reshape(graph, value, [-1])


@converts("view")
def convert_view(graph: Builder, value: Value, size: list[int]) -> Value:
    return reshape(graph, value, size[1:])


@converts("reshape")
def convert_reshape(graph: Builder, value: Value, shape: list[int]) -> Value:
    return reshape(graph, value, shape[1:])


@converts("squeeze")
def convert_squeeze(graph: Builder, value: Value, dim: int | list[int] | None = None) -> Value:
    value = graph.ordered(value)
    chosen = range(1, len(value.shape) + 1) if dim is None else [each % (len(value.shape) + 1) for each in as_list(dim)]
    return reshape(graph, value, [size for at, size in enumerate(value.shape, 1) if size != 1 or at not in chosen])


@converts("unsqueeze")
def convert_unsqueeze(graph: Builder, value: Value, dim: int) -> Value:
    value = graph.ordered(value)
    sizes = list(value.shape)
    sizes.insert(dim % (len(sizes) + 2) - 1, 1)
    return reshape(graph, value, sizes)


def reshape(graph: Builder, value: Value, sizes: list[int]) -> Value:
    """Add a reshape to sizes without the batch, one of which may be -1."""
    value = graph.ordered(value)
    total = int(torch.Size(value.shape).numel())
    counted = -int(torch.Size(sizes).numel()) if -1 in sizes else 0
    shape = tuple(total // counted if size == -1 else size for size in sizes)
    if shape == value.shape:
        return value
    if len(shape) > 3 or int(torch.Size(shape).numel()) != total:
        raise UnsupportedError(f"a reshape to {tuple(sizes)}")
    return graph.add("reshape", [value], shape)


def channel_constant(constant: Any, value: Value) -> Tensor:
    """Return a constant as one number, (1,), or one for each channel, (C,). Raises UnsupportedError."""
    tensor = torch.as_tensor(constant, dtype=torch.float32)
    if tensor.numel() == 1:
        return tensor.reshape(1)
    sizes = [1] * (len(value.shape) + 1 - tensor.dim()) + list(tensor.shape)
    by_axis = {axis: size for axis, size in zip((-1, *value.axes), sizes, strict=True) if size > 1}
    if by_axis != {0: value.shape[0]}:
        raise UnsupportedError("a constant that is not one number a channel")
    return tensor.reshape(-1)
