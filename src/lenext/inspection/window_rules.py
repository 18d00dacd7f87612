"""Rules for the receptive field of functions that slide a window over a map, or resize it."""

from dataclasses import replace
from math import ceil

from torch import Tensor

from lenext.inspection.function_call import FunctionCall, per_axis
from lenext.inspection.receptive_field import (
    AxisFactor,
    ReceptiveField,
    merge_axis,
    replace_axis,
    slide_window,
    sum_over_axes,
)


def window_axes(call: FunctionCall) -> range:
    """Return the axes that a function with its dimensions in its name, such as conv2d, slides along."""
    count = next(int(letter) for letter in call.name if letter in "123")
    return range(len(call.input_field.axes) - count, len(call.input_field.axes))


def convolution(call: FunctionCall) -> ReceptiveField:
    weight = call.argument("weight", 1)
    axes = window_axes(call)
    strides, padding = per_axis(call.argument("stride", 3, 1), len(axes)), call.argument("padding", 4, 0)
    dilations = per_axis(call.argument("dilation", 5, 1), len(axes))
    kernels = weight.shape[2:]
    if isinstance(padding, str):
        same = padding == "same"
        padding = [dilation * (kernel - 1) // 2 * same for kernel, dilation in zip(kernels, dilations, strict=True)]
    field = sum_over_channels(call, weight)
    for axis, kernel, stride, pad, dilation in zip(
        axes, kernels, strides, per_axis(padding, len(axes)), dilations, strict=True
    ):
        field = slide_window(field, axis, kernel, stride, call.shape[axis], pad, dilation)
    return replace(field, convolutions=field.convolutions + 1)


def transposed_convolution(call: FunctionCall) -> ReceptiveField:
    weight = call.argument("weight", 1)
    axes = window_axes(call)
    strides = per_axis(call.argument("stride", 3, 1), len(axes))
    paddings = per_axis(call.argument("padding", 4, 0), len(axes))
    dilations = per_axis(call.argument("dilation", 7, 1), len(axes))
    field = sum_over_channels(call, weight)
    for axis, kernel, stride, padding, dilation in zip(
        axes, weight.shape[2:], strides, paddings, dilations, strict=True
    ):
        reach = dilation * (kernel - 1)
        middle = (padding - reach / 2) / stride  # of the input's values that make the first output
        field = slide_window(
            field, axis, reach // stride + 1, 1 / stride, call.shape[axis], (reach // stride) / 2 - middle
        )
    return replace(field, convolutions=field.convolutions + 1)


def sum_over_channels(call: FunctionCall, weight: Tensor) -> ReceptiveField:
    """Sum over a convolution's input channels, which have different positions after space-to-depth."""
    channels = window_axes(call).start - 1
    is_depthwise = weight.shape[1] == 1 and call.shape[channels] > 1 and not call.name.startswith("conv_transpose")
    if is_depthwise and call.shape[channels] == call.input_field.shape[channels]:
        return call.input_field
    return sum_over_axes(call.input_field, [channels], call.shape[channels])


def pooling(call: FunctionCall) -> ReceptiveField:
    is_power = call.name.startswith("lp_pool")  # whose exponent precedes the kernel
    axes = window_axes(call)
    kernels = per_axis(call.argument("kernel_size", 1 + is_power), len(axes))
    strides = per_axis(call.argument("stride", 2 + is_power) or kernels, len(axes))
    paddings = per_axis(0 if is_power else call.argument("padding", 3, 0), len(axes))
    dilations = per_axis(call.argument("dilation", 4, 1) if "max" in call.name else 1, len(axes))
    field = call.input_field
    for axis, kernel, stride, padding, dilation in zip(axes, kernels, strides, paddings, dilations, strict=True):
        field = slide_window(field, axis, kernel, stride, call.shape[axis], padding, dilation)
    return field


def adaptive_pooling(call: FunctionCall) -> ReceptiveField:
    """Apply windows from floor(i size / count) to ceil((i + 1) size / count); the widest counts."""
    field = call.input_field
    for axis in window_axes(call) if call.name != "interpolate" else range(2, len(field.axes)):
        size, count = call.input_field.shape[axis], call.shape[axis]
        widest = max(ceil((position + 1) * size / count) - position * size // count for position in range(count))
        field = slide_window(field, axis, widest, size / count, count, (widest - size / count) / 2)
    return field


def fractional_pooling(call: FunctionCall) -> ReceptiveField:
    field, axes = call.input_field, window_axes(call)
    for axis, kernel in zip(axes, per_axis(call.argument("kernel_size", 1), len(axes)), strict=True):
        size, count = call.input_field.shape[axis], call.shape[axis]
        field = slide_window(field, axis, kernel, (size - kernel) / max(1, count - 1), count)
    return field


def interpolation(call: FunctionCall) -> ReceptiveField:
    """Apply interpolation over one (nearest), two (linear) or four (cubic) values; antialiasing multiplies them."""
    mode = call.argument("mode", 3, "nearest")
    if mode == "area":
        return adaptive_pooling(call)
    field, corners = call.input_field, bool(call.argument("align_corners", 4, default=False))
    for axis in range(2, len(field.axes)):
        size, count = call.input_field.shape[axis], call.shape[axis]
        if size == count:
            continue
        scale = (size - 1) / max(1, count - 1) if corners else size / count
        taps = 1 if mode.startswith("nearest") else 4 if mode == "bicubic" else 2
        if call.kwargs.get("antialias") and scale > 1:
            taps = ceil(taps * scale)
        is_aligned = corners or (mode == "nearest" and scale > 1)  # the first values have the same position
        middle = 0.0 if is_aligned else (scale - 1) / 2
        field = slide_window(field, axis, taps, scale, count, (taps - 1) / 2 - middle)
    return field


def unfolding(call: FunctionCall) -> ReceptiveField:
    """Apply F.unfold, to (N, C k k, windows), or Tensor.unfold(dim, size, step), which adds an axis of values."""
    field = call.input_field
    if len(call.args) + len(call.kwargs) == 4 and len(call.shape) > 3:
        axis, step = int(call.argument("dimension", 1)) % len(field.axes), int(call.argument("step", 3))
        factor = merge_axis(field.axes[axis]) or AxisFactor(1)
        inner = AxisFactor(call.shape[-1], factor.step)
        field = replace_axis(
            field, axis, (AxisFactor(call.shape[axis], (factor.step[0] * step, factor.step[1] * step)),)
        )
        return replace(field, axes=(*field.axes, (inner,)))
    settings = (("kernel_size", 1, None), ("dilation", 2, 1), ("padding", 3, 0), ("stride", 4, 1))
    kernels, dilations, paddings, strides = (per_axis(call.argument(*setting), 2) for setting in settings)
    strided, channels = field, list(field.axes[1])
    outer: list[AxisFactor] = []
    for axis, kernel, dilation, padding, stride in zip((2, 3), kernels, dilations, paddings, strides, strict=True):
        size = (call.input_field.shape[axis] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        strided = slide_window(strided, axis, 1, stride, size, padding)
        outer += strided.axes[axis]
        factor = merge_axis(field.axes[axis]) or AxisFactor(1)
        channels.append(AxisFactor(kernel, (factor.step[0] * dilation, factor.step[1] * dilation)))
    return replace(strided, axes=(field.axes[0], tuple(channels), tuple(outer)))
