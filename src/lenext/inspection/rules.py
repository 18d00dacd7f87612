"""What each of torch's functions makes of the places in its input; one without a rule leaves them as they are."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from lenext.inspection.calls import Call, each
from lenext.inspection.places import Run, Seen, contract, fitted, merged, permute, placeless, reshape, shift, spread
from lenext.inspection.windows import adaptive, convolution, fractional, patches, pooling, resized, transposed


def reduction(call: Call) -> Seen:
    """Sums, means, extremes: over the axes that are named, or over all."""
    dims = call.argument("dim", 2 if call.name == "norm" else 1)
    seen = call.first
    if isinstance(dims, Tensor):  # max(a, b)
        return merged(call.inputs, call.shape)
    count = len(seen.axes)
    axes = range(count) if dims is None or dims == () or dims == [] else [axis % count for axis in each(dims, 1)]
    seen = contract(seen, axes)
    return dropped(seen, axes) if len(call.shape) < count else seen


def dropped(seen: Seen, axes: Sequence[int]) -> Seen:
    return permute(seen, [axis for axis in range(len(seen.axes)) if axis not in axes])


def along_axis(call: Call) -> Seen:
    """Softmax, running sums, sorting: each value depends on all along an axis."""
    return spread(call.first, call.axis(1, -1))


def everywhere(call: Call) -> Seen:
    """Each value depends on all values."""
    seen = call.first
    return placeless(contract(seen, range(len(seen.axes))), call.shape)


def rearranged(call: Call) -> Seen:
    return reshape(call.first, call.shape)


def permuted(call: Call) -> Seen:
    order = call.args[1:] if len(call.args) > 2 else call.argument("dims", 1)
    count = len(call.first.axes)
    return permute(call.first, [axis % count for axis in each(order, 1)])


def swapped(call: Call) -> Seen:
    count = len(call.first.axes)
    first, second = (call.argument("dim0", 1, -2), call.argument("dim1", 2, -1)) if call.args[1:] else (-2, -1)
    order = list(range(count))
    order[first % count], order[second % count] = order[second % count], order[first % count]
    return permute(call.first, order)


def moved(call: Call) -> Seen:
    count = len(call.first.axes)
    source = [axis % count for axis in each(call.argument("source", 1), 1)]
    target = [axis % count for axis in each(call.argument("destination", 2), 1)]
    order = [axis for axis in range(count) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return permute(call.first, order)


def indexed(call: Call) -> Seen:
    """Whole numbers, slices, `...` and None; other indices leave the places unknown."""
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if any(not isinstance(part, int | slice | type(...) | None) or isinstance(part, bool) for part in index):
        return fitted(call.first, call.shape)
    taken = sum(isinstance(part, int | slice) for part in index)
    full = [slice(None)] * (len(call.first.axes) - taken)
    at = index.index(...) if ... in index else len(index)
    seen, axis, gone = call.first, 0, []
    for part in (*index[:at], *full, *index[at + 1 :]):
        if part is None:
            continue
        size = seen.shape[axis]
        chosen = range(size)[part] if isinstance(part, slice) else range(size)[part : part + 1 or None]
        if chosen != range(size):
            seen = shift(seen, axis, chosen.start, len(chosen), chosen.step)
        gone += [] if isinstance(part, slice) else [axis]
        axis += 1
    return reshape(dropped(seen, gone), call.shape)


def selected(call: Call) -> Seen:
    axis, first = call.axis(1), int(call.argument("index" if call.name == "select" else "start", 2))
    seen = shift(call.first, axis, first % call.first.shape[axis], 1 if call.name == "select" else call.shape[axis])
    return dropped(seen, [axis]) if call.name == "select" else seen


def divided(call: Call) -> Seen:
    """One of the parts of chunk or split."""
    axis = call.axis(2)
    before = sum(part.shape[axis] for part in call.results[: call.place])
    return shift(call.first, axis, before, call.shape[axis])


def unbound(call: Call) -> Seen:
    axis = call.axis(1)
    return dropped(shift(call.first, axis, call.place, 1), [axis])


def stacked(call: Call) -> Seen:
    place = int(call.argument("dim", 1, 0)) % len(call.shape)
    parts = [replace(seen, axes=(*seen.axes[:place], (Run(1),), *seen.axes[place:])) for seen in call.inputs]
    return merged(parts, call.shape)


def padded(call: Call) -> Seen:
    seen, amounts = call.first, list(call.argument("pad", 1))
    for place in range(len(amounts) // 2):
        axis = len(seen.axes) - 1 - place
        if amounts[2 * place] or amounts[2 * place + 1]:
            seen = shift(seen, axis, -amounts[2 * place], call.shape[axis])
    return seen


def depth_to_space(call: Call) -> Seen:
    factor, (*rest, channels, height, width) = int(call.argument("upscale_factor", 1)), call.first.shape
    seen = reshape(call.first, (*rest, channels // factor**2, factor, factor, height, width))
    count = len(rest)
    seen = permute(seen, [*range(count + 1), count + 3, count + 1, count + 4, count + 2])
    return reshape(seen, call.shape)


def space_to_depth(call: Call) -> Seen:
    factor, (*rest, channels, height, width) = int(call.argument("downscale_factor", 1)), call.first.shape
    seen = reshape(call.first, (*rest, channels, height // factor, factor, width // factor, factor))
    count = len(rest)
    seen = permute(seen, [*range(count + 1), count + 2, count + 4, count + 1, count + 3])
    down, across = seen.strides
    return replace(reshape(seen, call.shape), strides=(down * factor, across * factor))


def linear(call: Call) -> Seen:
    seen = contract(call.first, [len(call.first.axes) - 1], call.shape[-1] if call.shape else 1)
    return replace(seen, dense=seen.dense + 1)


def product(call: Call) -> Seen:
    """Products of matrices, perhaps added to something: over the first's columns, which are the second's rows."""
    added = call.name in ("addmm", "baddbmm", "addbmm", "addmv")
    operands = [*call.operands, None, None, None][added : added + 2]
    if call.name == "__rmatmul__":
        operands.reverse()
    left, right = operands
    shape = call.shape
    parts = list(call.operands[:1]) if added else []
    if left:
        left = contract(left, [len(left.axes) - 1], shape[-1] if shape else 1)
        vector = len(left.axes) > len(shape) or (right is not None and len(right.axes) == 1)
        parts.append(dropped(left, [len(left.axes) - 1]) if vector else left)
    if right:
        axis = max(0, len(right.axes) - 2)
        right = contract(right, [axis], shape[-2] if len(shape) > 1 else 1)
        parts.append(dropped(right, [axis]) if len(right.axes) == 1 else right)
    known = [part for part in parts if part]
    return merged(known or call.inputs, shape)


def einsum(call: Call) -> Seen:
    """Labels that are not in the result are summed over; `...` leaves the places unknown."""
    text = call.args[0]
    operands = call.args[1] if isinstance(call.args[1], list | tuple) else call.args[1:]
    if not isinstance(text, str) or "." in text:
        return placeless(merged(call.inputs, call.inputs[0].shape), call.shape)
    left, arrow, right = text.replace(" ", "").partition("->")
    labels = left.split(",")
    right = right if arrow else "".join(sorted(x for x in set(left) - {","} if left.count(x) == 1))
    parts = []
    for names, operand in zip(labels, operands, strict=True):
        seen = getattr(operand, "lenext_seen", None)
        if seen is not None:
            seen = contract(seen, [place for place, name in enumerate(names) if name not in right])
            axes = [
                seen.axes[names.index(name)] if name in names else (Run(size),)
                for name, size in zip(right, call.shape, strict=True)
            ]
            parts.append(replace(seen, axes=tuple(axes)))
    return merged(parts or call.inputs, call.shape)


def attention(call: Call) -> Seen:
    """Each query sees every key and value: (..., words, features), or (words, N, features) in attention layers."""
    layer = call.name == "multi_head_attention_forward"
    parts = []
    for place, seen in enumerate(call.operands[:3]):
        if seen is not None:
            words = 0 if layer else len(seen.axes) - 2
            seen = spread(seen, words) if place else seen
            parts.append(spread(seen, len(seen.axes) - 1) if layer else seen)
    if layer and call.place:  # the weights: how much each query takes of each key
        return placeless(merged(parts, parts[0].shape), call.shape)
    return merged(parts or call.inputs, call.shape)


Rule = Callable[[Call], Seen]
GROUPS: dict[Rule, str] = {
    convolution: "conv1d conv2d conv3d",
    transposed: "conv_transpose1d conv_transpose2d conv_transpose3d",
    pooling: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices",
    adaptive: "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
    "adaptive_max_pool3d_with_indices",
    fractional: "fractional_max_pool2d fractional_max_pool2d_with_indices fractional_max_pool3d "
    "fractional_max_pool3d_with_indices",
    resized: "interpolate",
    reduction: "mean sum nansum nanmean amax amin max min argmax argmin prod std var std_mean var_mean median "
    "nanmedian logsumexp norm linalg_norm linalg_vector_norm all any aminmax count_nonzero mode",
    along_axis: "softmax log_softmax softmin cumsum cumprod cummax cummin logcumsumexp sort argsort",
    everywhere: "lstm gru rnn_tanh rnn_relu grid_sample fft_fft fft_fft2 fft_fftn fft_rfft fft_rfft2 fft_rfftn "
    "fft_ifft fft_ifft2 fft_ifftn fft_irfft fft_irfft2 fft_irfftn",
    rearranged: "flatten reshape view unflatten squeeze unsqueeze ravel view_as reshape_as",
    permuted: "permute",
    swapped: "transpose swapaxes swapdims t T mT adjoint H mH",
    moved: "movedim moveaxis",
    indexed: "__getitem__",
    selected: "select narrow",
    divided: "chunk split split_with_sizes tensor_split",
    unbound: "unbind",
    stacked: "stack",
    padded: "pad",
    depth_to_space: "pixel_shuffle",
    space_to_depth: "pixel_unshuffle",
    patches: "unfold",
    linear: "linear",
    product: "matmul __matmul__ __rmatmul__ mm bmm mv dot addmm baddbmm addmv",
    einsum: "einsum",
    attention: "scaled_dot_product_attention multi_head_attention_forward",
}
RULES = {name: rule for rule, names in GROUPS.items() for name in names.split()}


def rule_of(name: str) -> Rule | None:
    """The rule of a function by its name, if it has one."""
    return RULES.get(name) or RULES.get(name.lstrip("_"))
