"""Rules for the receptive field of each of torch's functions; a function without a rule keeps its input's field."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from lenext.inspection.function_call import FunctionCall, per_axis
from lenext.inspection.receptive_field import (
    AxisFactor,
    ReceptiveField,
    fit_to_shape,
    merge_fields,
    permute,
    reshape,
    shift,
    spread_over_axis,
    sum_over_axes,
    without_positions,
)
from lenext.inspection.window_rules import (
    adaptive_pooling,
    convolution,
    fractional_pooling,
    interpolation,
    pooling,
    transposed_convolution,
    unfolding,
)


def reduction(call: FunctionCall) -> ReceptiveField:
    """Apply a sum, mean or extreme over the given axes, or over all."""
    dims = call.argument("dim", 2 if call.name == "norm" else 1)
    field = call.input_field
    if isinstance(dims, Tensor):  # max(a, b)
        return merge_fields(call.inputs, call.shape)
    count = len(field.axes)
    axes = range(count) if dims is None or dims == () or dims == [] else [axis % count for axis in per_axis(dims, 1)]
    field = sum_over_axes(field, axes)
    return drop_axes(field, axes) if len(call.shape) < count else field


def drop_axes(field: ReceptiveField, axes: Sequence[int]) -> ReceptiveField:
    return permute(field, [axis for axis in range(len(field.axes)) if axis not in axes])


def axis_dependence(call: FunctionCall) -> ReceptiveField:
    """Let each value depend on all along an axis: softmax, cumulative sums, sorting."""
    return spread_over_axis(call.input_field, call.axis(1, -1))


def full_dependence(call: FunctionCall) -> ReceptiveField:
    """Let each value depend on all values."""
    field = call.input_field
    return without_positions(sum_over_axes(field, range(len(field.axes))), call.shape)


def reshaping(call: FunctionCall) -> ReceptiveField:
    return reshape(call.input_field, call.shape)


def permutation(call: FunctionCall) -> ReceptiveField:
    order = call.args[1:] if len(call.args) > 2 else call.argument("dims", 1)
    count = len(call.input_field.axes)
    return permute(call.input_field, [axis % count for axis in per_axis(order, 1)])


def transposition(call: FunctionCall) -> ReceptiveField:
    count = len(call.input_field.axes)
    first, second = (call.argument("dim0", 1, -2), call.argument("dim1", 2, -1)) if call.args[1:] else (-2, -1)
    order = list(range(count))
    order[first % count], order[second % count] = order[second % count], order[first % count]
    return permute(call.input_field, order)


def axis_move(call: FunctionCall) -> ReceptiveField:
    count = len(call.input_field.axes)
    source = [axis % count for axis in per_axis(call.argument("source", 1), 1)]
    target = [axis % count for axis in per_axis(call.argument("destination", 2), 1)]
    order = [axis for axis in range(count) if axis not in source]
    for position, axis in sorted(zip(target, source, strict=True)):
        order.insert(position, axis)
    return permute(call.input_field, order)


def indexing(call: FunctionCall) -> ReceptiveField:
    """Apply integers, slices, `...` and None; after other indices the positions are unknown."""
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if any(not isinstance(part, int | slice | type(...) | None) or isinstance(part, bool) for part in index):
        return fit_to_shape(call.input_field, call.shape)
    indexed_axes = sum(isinstance(part, int | slice) for part in index)
    full = [slice(None)] * (len(call.input_field.axes) - indexed_axes)
    ellipsis = index.index(...) if ... in index else len(index)
    field, axis, dropped = call.input_field, 0, []
    for part in (*index[:ellipsis], *full, *index[ellipsis + 1 :]):
        if part is None:
            continue
        size = field.shape[axis]
        chosen = range(size)[part] if isinstance(part, slice) else range(size)[part : part + 1 or None]
        if chosen != range(size):
            field = shift(field, axis, chosen.start, len(chosen), chosen.step)
        dropped += [] if isinstance(part, slice) else [axis]
        axis += 1
    return reshape(drop_axes(field, dropped), call.shape)


def selection(call: FunctionCall) -> ReceptiveField:
    axis, is_select = call.axis(1), call.name == "select"
    first = int(call.argument("index" if is_select else "start", 2)) % call.input_field.shape[axis]
    field = shift(call.input_field, axis, first, 1 if is_select else call.shape[axis])
    return drop_axes(field, [axis]) if is_select else field


def splitting(call: FunctionCall) -> ReceptiveField:
    """Select one of the parts of chunk or split."""
    axis = call.axis(2)
    before = sum(part.shape[axis] for part in call.results[: call.result_index])
    return shift(call.input_field, axis, before, call.shape[axis])


def unbinding(call: FunctionCall) -> ReceptiveField:
    axis = call.axis(1)
    return drop_axes(shift(call.input_field, axis, call.result_index, 1), [axis])


def stacking(call: FunctionCall) -> ReceptiveField:
    position = int(call.argument("dim", 1, 0)) % len(call.shape)
    parts = [
        replace(field, axes=(*field.axes[:position], (AxisFactor(1),), *field.axes[position:])) for field in call.inputs
    ]
    return merge_fields(parts, call.shape)


def padding(call: FunctionCall) -> ReceptiveField:
    field, amounts = call.input_field, list(call.argument("pad", 1))
    for position in range(len(amounts) // 2):
        axis = len(field.axes) - 1 - position
        if amounts[2 * position] or amounts[2 * position + 1]:
            field = shift(field, axis, -amounts[2 * position], call.shape[axis])
    return field


def depth_to_space(call: FunctionCall) -> ReceptiveField:
    factor, (*rest, channels, height, width) = int(call.argument("upscale_factor", 1)), call.input_field.shape
    field = reshape(call.input_field, (*rest, channels // factor**2, factor, factor, height, width))
    count = len(rest)
    field = permute(field, [*range(count + 1), count + 3, count + 1, count + 4, count + 2])
    return reshape(field, call.shape)


def space_to_depth(call: FunctionCall) -> ReceptiveField:
    factor, (*rest, channels, height, width) = int(call.argument("downscale_factor", 1)), call.input_field.shape
    field = reshape(call.input_field, (*rest, channels, height // factor, factor, width // factor, factor))
    count = len(rest)
    field = permute(field, [*range(count + 1), count + 2, count + 4, count + 1, count + 3])
    down, across = field.strides
    return replace(reshape(field, call.shape), strides=(down * factor, across * factor))


def linear(call: FunctionCall) -> ReceptiveField:
    field = sum_over_axes(call.input_field, [len(call.input_field.axes) - 1], call.shape[-1] if call.shape else 1)
    return replace(field, dense=field.dense + 1)


def matrix_product(call: FunctionCall) -> ReceptiveField:
    """Sum over the first matrix's columns, which are the second's rows; `addmm` and the like also add a tensor."""
    has_addend = call.name in ("addmm", "baddbmm", "addbmm", "addmv")
    operands = [*call.operands, None, None, None][has_addend : has_addend + 2]
    if call.name == "__rmatmul__":
        operands.reverse()
    left, right = operands
    shape = call.shape
    parts = list(call.operands[:1]) if has_addend else []
    if left:
        left = sum_over_axes(left, [len(left.axes) - 1], shape[-1] if shape else 1)
        is_vector = len(left.axes) > len(shape) or (right is not None and len(right.axes) == 1)
        parts.append(drop_axes(left, [len(left.axes) - 1]) if is_vector else left)
    if right:
        axis = max(0, len(right.axes) - 2)
        right = sum_over_axes(right, [axis], shape[-2] if len(shape) > 1 else 1)
        parts.append(drop_axes(right, [axis]) if len(right.axes) == 1 else right)
    known_parts = [part for part in parts if part]
    return merge_fields(known_parts or call.inputs, shape)


def einsum(call: FunctionCall) -> ReceptiveField:
    """Sum over the labels that are not in the result; after `...` the positions are unknown."""
    text = call.args[0]
    operands = call.args[1] if isinstance(call.args[1], list | tuple) else call.args[1:]
    if not isinstance(text, str) or "." in text:
        return without_positions(merge_fields(call.inputs, call.inputs[0].shape), call.shape)
    inputs, arrow, output = text.replace(" ", "").partition("->")
    labels = inputs.split(",")
    output = output if arrow else "".join(sorted(x for x in set(inputs) - {","} if inputs.count(x) == 1))
    parts = []
    for names, operand in zip(labels, operands, strict=True):
        field = getattr(operand, "lenext_field", None)
        if field is not None:
            field = sum_over_axes(field, [position for position, name in enumerate(names) if name not in output])
            axes = [
                field.axes[names.index(name)] if name in names else (AxisFactor(size),)
                for name, size in zip(output, call.shape, strict=True)
            ]
            parts.append(replace(field, axes=tuple(axes)))
    return merge_fields(parts or call.inputs, call.shape)


def attention(call: FunctionCall) -> ReceptiveField:
    """Let each query depend on all keys and values: (..., tokens, features), or (tokens, N, features) in layers."""
    is_layer = call.name == "multi_head_attention_forward"
    parts = []
    for position, field in enumerate(call.operands[:3]):
        if field is not None:
            tokens = 0 if is_layer else len(field.axes) - 2
            field = spread_over_axis(field, tokens) if position else field
            parts.append(spread_over_axis(field, len(field.axes) - 1) if is_layer else field)
    if is_layer and call.result_index:  # the attention weights
        return without_positions(merge_fields(parts, parts[0].shape), call.shape)
    return merge_fields(parts or call.inputs, call.shape)


Rule = Callable[[FunctionCall], ReceptiveField]
FUNCTIONS_BY_RULE: dict[Rule, str] = {
    convolution: "conv1d conv2d conv3d",
    transposed_convolution: "conv_transpose1d conv_transpose2d conv_transpose3d",
    pooling: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices",
    adaptive_pooling: "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
    "adaptive_max_pool3d_with_indices",
    fractional_pooling: "fractional_max_pool2d fractional_max_pool2d_with_indices fractional_max_pool3d "
    "fractional_max_pool3d_with_indices",
    interpolation: "interpolate",
    reduction: "mean sum nansum nanmean amax amin max min argmax argmin prod std var std_mean var_mean median "
    "nanmedian logsumexp norm linalg_norm linalg_vector_norm all any aminmax count_nonzero mode",
    axis_dependence: "softmax log_softmax softmin cumsum cumprod cummax cummin logcumsumexp sort argsort",
    full_dependence: "lstm gru rnn_tanh rnn_relu grid_sample fft_fft fft_fft2 fft_fftn fft_rfft fft_rfft2 fft_rfftn "
    "fft_ifft fft_ifft2 fft_ifftn fft_irfft fft_irfft2 fft_irfftn",
    reshaping: "flatten reshape view unflatten squeeze unsqueeze ravel view_as reshape_as",
    permutation: "permute",
    transposition: "transpose swapaxes swapdims t T mT adjoint H mH",
    axis_move: "movedim moveaxis",
    indexing: "__getitem__",
    selection: "select narrow",
    splitting: "chunk split split_with_sizes tensor_split",
    unbinding: "unbind",
    stacking: "stack",
    padding: "pad",
    depth_to_space: "pixel_shuffle",
    space_to_depth: "pixel_unshuffle",
    unfolding: "unfold",
    linear: "linear",
    matrix_product: "matmul __matmul__ __rmatmul__ mm bmm mv dot addmm baddbmm addmv",
    einsum: "einsum",
    attention: "scaled_dot_product_attention multi_head_attention_forward",
}
RULES = {name: rule for rule, names in FUNCTIONS_BY_RULE.items() for name in names.split()}


def find_rule(name: str) -> Rule | None:
    """Return the rule of a function by its name, or None."""
    return RULES.get(name) or RULES.get(name.lstrip("_"))
