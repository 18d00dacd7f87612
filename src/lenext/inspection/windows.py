"""What functions that slide a window over a map, or resize it, make of the places in their input."""

from dataclasses import replace
from math import ceil

from torch import Tensor

from lenext.inspection.calls import Call, each
from lenext.inspection.places import Run, Seen, contract, single, window, with_axis


def sides(call: Call) -> range:
    """The axes that a function named after its dimensions slides along, such as conv2d."""
    count = next(int(letter) for letter in call.name if letter in "123")
    return range(len(call.first.axes) - count, len(call.first.axes))


def convolution(call: Call) -> Seen:
    weight = call.argument("weight", 1)
    axes = sides(call)
    strides, padding = each(call.argument("stride", 3, 1), len(axes)), call.argument("padding", 4, 0)
    dilations = each(call.argument("dilation", 5, 1), len(axes))
    kernels = weight.shape[2:]
    if isinstance(padding, str):
        same = padding == "same"
        padding = [dilation * (kernel - 1) // 2 * same for kernel, dilation in zip(kernels, dilations, strict=True)]
    seen = over_channels(call, weight)
    for axis, kernel, stride, pad, dilation in zip(
        axes, kernels, strides, each(padding, len(axes)), dilations, strict=True
    ):
        seen = window(seen, axis, kernel, stride, call.shape[axis], pad, dilation)
    return replace(seen, convolutions=seen.convolutions + 1)


def transposed(call: Call) -> Seen:
    weight = call.argument("weight", 1)
    axes = sides(call)
    strides, paddings = each(call.argument("stride", 3, 1), len(axes)), each(call.argument("padding", 4, 0), len(axes))
    dilations = each(call.argument("dilation", 7, 1), len(axes))
    seen = over_channels(call, weight)
    for axis, kernel, stride, padding, dilation in zip(
        axes, weight.shape[2:], strides, paddings, dilations, strict=True
    ):
        reach = dilation * (kernel - 1)
        middle = (padding - reach / 2) / stride  # of the input's values that make the first of the output's
        seen = window(seen, axis, reach // stride + 1, 1 / stride, call.shape[axis], (reach // stride) / 2 - middle)
    return replace(seen, convolutions=seen.convolutions + 1)


def over_channels(call: Call, weight: Tensor) -> Seen:
    """A convolution's sum over channels, which stand at places of their own after space-to-depth."""
    channels = sides(call).start - 1
    depthwise = weight.shape[1] == 1 and call.shape[channels] > 1 and not call.name.startswith("conv_transpose")
    if depthwise and call.shape[channels] == call.first.shape[channels]:
        return call.first
    return contract(call.first, [channels], call.shape[channels])


def pooling(call: Call) -> Seen:
    power = call.name.startswith("lp_pool")  # which takes its exponent before the kernel
    axes = sides(call)
    kernels = each(call.argument("kernel_size", 1 + power), len(axes))
    strides = each(call.argument("stride", 2 + power) or kernels, len(axes))
    paddings = each(0 if power else call.argument("padding", 3, 0), len(axes))
    dilations = each(call.argument("dilation", 4, 1) if "max" in call.name else 1, len(axes))
    seen = call.first
    for axis, kernel, stride, padding, dilation in zip(axes, kernels, strides, paddings, dilations, strict=True):
        seen = window(seen, axis, kernel, stride, call.shape[axis], padding, dilation)
    return seen


def adaptive(call: Call) -> Seen:
    """Windows from floor(i size / wanted) to ceil((i + 1) size / wanted); the widest counts."""
    seen = call.first
    for axis in sides(call) if call.name != "interpolate" else range(2, len(seen.axes)):
        size, wanted = call.first.shape[axis], call.shape[axis]
        widest = max(ceil((place + 1) * size / wanted) - place * size // wanted for place in range(wanted))
        seen = window(seen, axis, widest, size / wanted, wanted, (widest - size / wanted) / 2)
    return seen


def fractional(call: Call) -> Seen:
    seen, axes = call.first, sides(call)
    for axis, kernel in zip(axes, each(call.argument("kernel_size", 1), len(axes)), strict=True):
        size, wanted = call.first.shape[axis], call.shape[axis]
        seen = window(seen, axis, kernel, (size - kernel) / max(1, wanted - 1), wanted)
    return seen


def resized(call: Call) -> Seen:
    """Nearest takes one value, linear two and cubic four a side; with antialiasing, as many times the reduction."""
    mode = call.argument("mode", 3, "nearest")
    if mode == "area":
        return adaptive(call)
    seen, corners = call.first, bool(call.argument("align_corners", 4, default=False))
    for axis in range(2, len(seen.axes)):
        size, wanted = call.first.shape[axis], call.shape[axis]
        if size == wanted:
            continue
        scale = (size - 1) / max(1, wanted - 1) if corners else size / wanted
        taps = 1 if mode.startswith("nearest") else 4 if mode == "bicubic" else 2
        if call.kwargs.get("antialias") and scale > 1:
            taps = ceil(taps * scale)
        first = corners or (mode == "nearest" and scale > 1)  # in the middle of the input's first value
        middle = 0.0 if first else (scale - 1) / 2
        seen = window(seen, axis, taps, scale, wanted, (taps - 1) / 2 - middle)
    return seen


def patches(call: Call) -> Seen:
    """F.unfold gives (N, C k k, places); Tensor.unfold(dim, size, step) adds an axis of the window's values."""
    seen = call.first
    if len(call.args) + len(call.kwargs) == 4 and len(call.shape) > 3:
        axis, step = int(call.argument("dimension", 1)) % len(seen.axes), int(call.argument("step", 3))
        run = single(seen.axes[axis]) or Run(1)
        inner = Run(call.shape[-1], run.step)
        seen = with_axis(seen, axis, (Run(call.shape[axis], (run.step[0] * step, run.step[1] * step)),))
        return replace(seen, axes=(*seen.axes, (inner,)))
    settings = (("kernel_size", 1, None), ("dilation", 2, 1), ("padding", 3, 0), ("stride", 4, 1))
    kernels, dilations, paddings, strides = (each(call.argument(*setting), 2) for setting in settings)
    start, channels = seen, list(seen.axes[1])
    outer: list[Run] = []
    for axis, kernel, dilation, padding, stride in zip((2, 3), kernels, dilations, paddings, strides, strict=True):
        size = (call.first.shape[axis] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        start = window(start, axis, 1, stride, size, padding)
        outer += start.axes[axis]
        run = single(seen.axes[axis]) or Run(1)
        channels.append(Run(kernel, (run.step[0] * dilation, run.step[1] * dilation)))
    return replace(start, axes=(seen.axes[0], tuple(channels), tuple(outer)))
