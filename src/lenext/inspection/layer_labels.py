"""Labels of layers in diagrams, such as `Conv 3x3, 64 /2`."""

from typing import Any

from torch import nn

from lenext.models.whitening import Whitening

NORM_LABELS = {
    "BatchNorm2d": "Batch norm",
    "LayerNorm2d": "Layer norm",
    "LayerNorm": "Layer norm",
    "GroupNorm": "Group norm",
    "InstanceNorm2d": "Instance norm",
    "LocalResponseNorm": "Local response norm",
}
ACTIVATIONS = ("ReLU", "GELU", "SiLU", "Tanh", "Sigmoid", "Softmax", "LeakyReLU", "Hardswish")


def describe_layer(module: nn.Module) -> tuple[str, str]:
    """Return the kind of a module (convolution, dense, pooling, norm, activation, block or other) and its label."""
    if isinstance(module, Whitening):
        return "convolution", f"Whitening {format_window(module.kernel_size, module.stride)}, {module.out_channels}"
    if isinstance(module, nn.Conv2d):
        return "convolution", describe_convolution(module)
    if isinstance(module, nn.Linear):
        return "dense", f"Dense {module.out_features:,}"
    pooling = "Max" if "Max" in type(module).__name__ else "Average"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return "pooling", f"{pooling} pool {format_window(module.kernel_size, module.stride)}"
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        height, width = pair_of(module.output_size)
        if (height, width) == (1, 1):
            return "pooling", f"Global {pooling.lower()} pool"
        return "pooling", f"{pooling} pool to {height or 'H'}×{width or 'W'}"  # noqa: RUF001
    name = type(module).__name__
    if next(module.children(), None) is not None:
        weighted = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        return describe_layer(weighted[0]) if len(weighted) == 1 else ("block", split_words(name))
    if name in NORM_LABELS:
        return "norm", NORM_LABELS[name]
    return "activation" if name in ACTIVATIONS else "other", name


def describe_convolution(module: nn.Conv2d) -> str:
    """Return a convolution's label; with one input channel it is never called depthwise."""
    if module.groups == 1:
        kind = "Conv"
    elif module.groups == module.in_channels:
        kind = "Depthwise"
    else:
        kind = f"Conv ({module.groups} groups)"
    return f"{kind} {format_window(module.kernel_size, module.stride)}, {module.out_channels}"


def format_window(kernel: Any, stride: Any) -> str:
    """Format a kernel and its stride, such as `3x3 /2`; a stride of 1 is left out."""
    (height, width), (down, across) = pair_of(kernel), pair_of(stride)
    step = f" /{down}" if down == across else f" /{down}×{across}"  # noqa: RUF001
    return f"{height}×{width}" + (step if max(down, across) > 1 else "")  # noqa: RUF001


def pair_of(value: Any) -> tuple[Any, Any]:
    return value if isinstance(value, tuple) else (value, value)


def split_words(name: str) -> str:
    """Split a class's name into words: BasicBlock to `Basic block`; a name with more capitals stays."""
    words = "".join(f" {letter}" if letter.isupper() and position else letter for position, letter in enumerate(name))
    return name if sum(letter.isupper() for letter in name) > 2 else words.capitalize()
