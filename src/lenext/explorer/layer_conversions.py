"""Conversions of torch's functions for layers: convolution, dense layers, norms, activations, pooling."""

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from lenext.explorer.operations import CONVERSIONS, Builder, UnsupportedError, Value, as_list, converts
from lenext.foundation.arithmetic import output_size

ONES = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
ACTIVATIONS = (
    "relu", "relu6", "gelu", "tanh", "sigmoid", "silu", "leaky_relu", "elu", "hardswish", "hardsigmoid",
)  # fmt: skip


def convert_activation(graph: Builder, name: str, value: Value, **arguments: Any) -> Value:
    function = "gelu_tanh" if arguments.get("approximate") == "tanh" else name
    slope = {"leaky_relu": "negative_slope", "elu": "alpha"}.get(name)
    settings = {"function": function} | ({"alpha": float(arguments[slope])} if slope else {})
    return graph.add("activation", [value], value, settings=settings)


CONVERSIONS.update({name: partial(convert_activation, name=name) for name in ACTIVATIONS})


@converts("conv2d")
def convert_conv2d(
    graph: Builder,
    input: Value,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Value:
    image = graph.map(input, "conv2d")
    kernel, stride, dilation = tuple(weight.shape[2:]), pair(stride), pair(dilation)
    if isinstance(padding, str):
        total = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        if padding == "same" and (stride != (1, 1) or any(size % 2 for size in total)):
            raise UnsupportedError("`conv2d` with uneven padding")
        padding = [size // 2 for size in total] if padding == "same" else [0, 0]
    padding = pair(padding)
    sizes = [
        output_size(size, side, move, pad, step)
        for size, side, move, pad, step in zip(image.shape[1:], kernel, stride, padding, dilation, strict=True)
    ]
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shape = (weight.shape[0], *sizes)
    return graph.add("convolution", [image], shape, {"weight": weight, "bias": bias}, settings)


@converts("linear")
def convert_linear(graph: Builder, input: Value, weight: Tensor, bias: Tensor | None) -> Value:
    if len(input.shape) == 1:
        return graph.add("dense", [input], (weight.shape[0],), {"weight": weight, "bias": bias}, ONES)
    if input.axes != (1, 2, 0):
        raise UnsupportedError("`linear` of a tensor that is neither a vector nor has its channels last")
    shape = (weight.shape[0], *input.shape[1:])
    added = graph.add("convolution", [input], shape, {"weight": weight[:, :, None, None], "bias": bias}, ONES)
    return replace(added, axes=input.axes)


@converts("batch_norm")
def convert_batch_norm(
    graph: Builder, input: Value, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Value:  # fmt: skip
    if training or running_mean is None or running_var is None:
        raise UnsupportedError("batch norm without running statistics")
    if not input.is_ordered:
        raise UnsupportedError("batch norm of a tensor with its channels last")
    tensors = {"mean": running_mean, "variance": running_var, "weight": weight, "bias": bias}
    return graph.add("batch_norm", [input], input, tensors, {"eps": eps})


@converts("layer_norm")
def convert_layer_norm(
    graph: Builder, input: Value, normalized_shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float,
    cudnn_enable: bool,
) -> Value:  # fmt: skip
    over = set(input.axes[-len(normalized_shape) :])
    if over == {0, 1, 2} and input.is_ordered:  # with a weight for each number
        return graph.add("group_norm", [input], input, {"weight": weight, "bias": bias}, {"groups": 1, "eps": eps})
    if over != {0}:  # of a vector, all of it; of a map, its channels at each place
        raise UnsupportedError("layer norm over height or width alone")
    return graph.add("layer_norm", [input], input, {"weight": weight, "bias": bias}, {"eps": eps})


@converts("group_norm")
def convert_group_norm(
    graph: Builder,
    input: Value,
    num_groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    cudnn_enabled: bool,
) -> Value:
    image = graph.ordered(input)
    settings = {"groups": num_groups, "eps": eps}
    return graph.add("group_norm", [image], image, {"weight": weight, "bias": bias}, settings)


@converts("max_pool2d")
def convert_max_pool2d(
    graph: Builder, value: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Value:
    if pair(dilation) != (1, 1):
        raise UnsupportedError("`max_pool2d` with dilation")
    return pool(graph, "max", value, kernel_size, stride, padding, ceil_mode, True)


@converts("avg_pool2d")
def convert_avg_pool2d(
    graph: Builder, value: Value, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Value:  # fmt: skip
    if divisor_override is not None:
        raise UnsupportedError("`avg_pool2d` with a custom divisor")
    return pool(graph, "average", value, kernel_size, stride, padding, ceil_mode, count_include_pad)


def pool(
    graph: Builder,
    mode: str,
    value: Value,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_padding: bool,
) -> Value:
    """Add a pooling with windows of one size."""
    image = graph.map(value, "pooling")
    kernel, padding = pair(kernel), pair(padding)
    stride = pair(stride) if stride else kernel
    shape = pooled_shape(image.shape, kernel, stride, padding, ceil_mode)
    settings = {"mode": mode, "kernel": kernel, "stride": stride, "padding": padding, "countPadding": count_padding}
    return graph.add("pool", [image], shape, settings=settings)


@converts("adaptive_avg_pool2d")
def convert_adaptive_avg_pool2d(graph: Builder, value: Value, output_size: Any) -> Value:
    return adaptive_pool(graph, "average", value, output_size)


@converts("adaptive_max_pool2d")
def convert_adaptive_max_pool2d(graph: Builder, value: Value, output_size: Any) -> list[Any]:
    return [adaptive_pool(graph, "max", value, output_size), None]


def adaptive_pool(graph: Builder, mode: str, value: Value, output_size: Any) -> Value:
    """Add a pooling to maps of one size."""
    image = graph.map(value, "pooling")
    sizes = [size or length for size, length in zip(pair(output_size), image.shape[1:], strict=True)]
    return graph.add("adaptive_pool", [image], (image.shape[0], *sizes), settings={"mode": mode})


@converts("mean")
def convert_mean(graph: Builder, value: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    image = graph.map(value, "mean")
    if sorted(each % 4 for each in dim or ()) != [2, 3]:
        raise UnsupportedError("`mean` over other axes than height and width")
    pooled = graph.add("adaptive_pool", [image], (image.shape[0], 1, 1), settings={"mode": "average"})
    return pooled if keepdim else graph.add("reshape", [pooled], (image.shape[0],))


@converts("softmax")
def convert_softmax(graph: Builder, value: Value, dim: int, dtype: Any = None) -> Value:
    if len(value.shape) != 1:
        raise UnsupportedError("`softmax` of a tensor that is no vector")
    return graph.add("softmax", [value], value)


def pooled_shape(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], ceil_mode: bool
) -> tuple[int, ...]:
    """Return the shape of maps (C, H, W) after pooling, by torch's rule for windows that pass the border."""
    sizes = []
    for length, side, move, pad in zip(shape[1:], kernel, stride, padding, strict=True):
        size = output_size(length, side, move, pad)
        has_rest = (length + 2 * pad - side) % move > 0
        sizes.append(size + 1 if ceil_mode and has_rest and size * move < length + pad else size)
    return (shape[0], *sizes)


def pair(value: Any) -> tuple[int, int]:
    """Return an argument for height and width, which may be one number for both."""
    values = [int(each) for each in as_list(value)]
    return (values[0], values[-1])
