"""The operations computed by torch: what the page must give, and a check that they are the network's own."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.explorer.operations import Operation
from lenext.foundation.arithmetic import output_size

Compute = Callable[[Operation, list[Tensor]], Tensor]


def evaluate(operations: Sequence[Operation], images: Tensor) -> list[Tensor]:
    """Return the value of each operation for images (N, C, H, W), with the batch as the first axis."""
    values = [images]
    for operation in operations:
        values.append(COMPUTE[operation.kind](operation, [values[position] for position in operation.inputs]))
    return values[1:]


def by_channel(values: Tensor, like: Tensor) -> Tensor:
    """Return one number a channel, shaped to fit images or vectors with a batch."""
    return values.reshape(-1, *(1 for _ in like.shape[2:]))


def convolution(operation: Operation, inputs: list[Tensor]) -> Tensor:
    weight, bias = weight_and_bias(operation)
    assert weight is not None
    return F.conv2d(inputs[0], weight, bias, **operation.settings)


def dense(operation: Operation, inputs: list[Tensor]) -> Tensor:
    return F.linear(inputs[0], **operation.tensors)


def batch_norm(operation: Operation, inputs: list[Tensor]) -> Tensor:
    mean, variance = operation.tensors["mean"], operation.tensors["variance"]
    return F.batch_norm(inputs[0], mean, variance, *weight_and_bias(operation), eps=operation.settings["eps"])


def weight_and_bias(operation: Operation) -> tuple[Tensor | None, Tensor | None]:
    """Return those that it has; a norm may have neither."""
    return operation.tensors.get("weight"), operation.tensors.get("bias")


def layer_norm(operation: Operation, inputs: list[Tensor]) -> Tensor:
    last = inputs[0].movedim(1, -1)
    normal = F.layer_norm(last, last.shape[-1:], *weight_and_bias(operation), operation.settings["eps"])
    return normal.movedim(-1, 1)


def group_norm(operation: Operation, inputs: list[Tensor]) -> Tensor:
    weight, bias = weight_and_bias(operation)
    if weight is not None and weight.dim() > 1:
        return F.layer_norm(inputs[0], operation.shape, weight, bias, operation.settings["eps"])
    return F.group_norm(inputs[0], operation.settings["groups"], weight, bias, operation.settings["eps"])


def pool(operation: Operation, inputs: list[Tensor]) -> Tensor:
    settings = operation.settings
    window = (settings["kernel"], settings["stride"], settings["padding"])
    is_rounded_up = operation.shape[1:] != tuple(map(output_size, inputs[0].shape[2:], *window))
    if settings["mode"] == "max":
        return F.max_pool2d(inputs[0], *window, ceil_mode=is_rounded_up)
    return F.avg_pool2d(inputs[0], *window, ceil_mode=is_rounded_up, count_include_pad=settings["countPadding"])


def adaptive_pool(operation: Operation, inputs: list[Tensor]) -> Tensor:
    _, height, width = operation.shape
    if operation.settings["mode"] == "max":
        return F.adaptive_max_pool2d(inputs[0], (height, width))
    return F.adaptive_avg_pool2d(inputs[0], (height, width))


def activation(operation: Operation, inputs: list[Tensor]) -> Tensor:
    name, values = operation.settings["function"], inputs[0]
    if name == "gelu_tanh":
        return F.gelu(values, approximate="tanh")
    if name in ("tanh", "sigmoid"):
        function: Callable[..., Tensor] = getattr(torch, name)
        return function(values)
    numbers = (operation.settings["alpha"],) if "alpha" in operation.settings else ()
    function = getattr(F, name)
    return function(values, *numbers)


def scale(operation: Operation, inputs: list[Tensor]) -> Tensor:
    factor, summand = (by_channel(operation.tensors[role], inputs[0]) for role in ("factor", "summand"))
    return inputs[0] * factor + summand


def part(operation: Operation, inputs: list[Tensor]) -> Tensor:
    return inputs[0].narrow(1, operation.settings["start"], operation.shape[0])


def pad(operation: Operation, inputs: list[Tensor]) -> Tensor:
    top, start = operation.settings["top"], operation.settings["left"]
    (_, height, width), (_, old_height, old_width) = operation.shape, inputs[0].shape[1:]
    return F.pad(inputs[0], (start, width - old_width - start, top, height - old_height - top))


def permute(operation: Operation, inputs: list[Tensor]) -> Tensor:
    return inputs[0].permute(0, *(axis + 1 for axis in operation.settings["axes"]))


COMPUTE: dict[str, Compute] = {
    "convolution": convolution,
    "dense": dense,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "pool": pool,
    "adaptive_pool": adaptive_pool,
    "activation": activation,
    "scale": scale,
    "slice": part,
    "pad": pad,
    "permute": permute,
    "add": lambda _, inputs: inputs[0] + inputs[1],
    "multiply": lambda _, inputs: inputs[0] * inputs[1],
    "concatenate": lambda _, inputs: torch.cat(inputs, 1),
    "reshape": lambda operation, inputs: inputs[0].reshape(-1, *operation.shape),
    "softmax": lambda _, inputs: inputs[0].softmax(1),
}
"""How torch computes each kind of operation."""


def largest_difference(operations: Sequence[Operation], network: nn.Module, images: Tensor) -> float:
    """Return the largest difference of a log-probability between the operations and the network, by the largest one.

    Images (N, C, H, W) are computed one by one, as in the page: a network may normalize over its batch.

    Raises:
        ValueError: The network gives no numbers.
    """
    differences = []
    with torch.inference_mode():
        for image in images.split(1):
            expected, values = network(image).log_softmax(1), evaluate(operations, image)
            if any(tuple(value.shape[1:]) != each.shape for value, each in zip(values, operations, strict=True)):
                return float("inf")
            if not expected.isfinite().all():
                raise ValueError("it gives answers that are no numbers")
            difference = (values[-1].log_softmax(1) - expected).abs().max() / expected.abs().max()
            differences.append(float(difference))
    return max(differences) if all(map(math.isfinite, differences)) else float("inf")
