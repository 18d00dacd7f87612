"""What a network is made of and what it costs, layer by layer, measured on one blank picture."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.modes import at_rest
from lenext.inspection.trace import Seen, Trace, mark, seen_by

FLOAT = 4  # bytes of a value in fp32
CONTAINERS = (nn.Sequential, nn.ModuleList)
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Layer:
    """One call of one layer, or a block of them.

    output_shape: without N. parameters: its own, counted at the first call. multiply_adds: of convolutions and dense
    layers, for one picture. training_bytes: what is kept for the backward pass; evaluation_bytes: its input and output.
    receptive_field, stride: in pixels of the picture. block: the part of the network that it belongs to.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    training_bytes: int
    evaluation_bytes: int
    receptive_field: int
    stride: int
    block: str


@dataclass(frozen=True)
class Summary:
    """The layers in the order in which they are called, and the totals for one picture. input_shape is (C, H, W).

    convolutions, dense: weighted layers on the longest way through, as networks are named by (the 18 of ResNet-18).
    block_shapes: what the blocks with a class of their own give, which may be more than their last layer does.
    training_bytes: activations kept for the backward pass. evaluation_bytes: the most that a layer has in hand.
    """

    network: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    training_bytes: int
    evaluation_bytes: int
    convolutions: int
    dense: int
    block_shapes: Mapping[str, tuple[int, ...]]

    def blocks(self) -> tuple[Layer, ...]:
        """The layers folded by block: ResNet's residual blocks, VGG's stacks with their pooling, ..."""
        folded: list[Layer] = []
        for layer in self.layers:
            if folded and folded[-1].name == layer.block:
                folded[-1] = joined(folded[-1], layer)
            else:
                folded.append(
                    replace(layer, name=layer.block, kind=layer.kind if layer.block == layer.name else "block")
                )
        return tuple(replace(one, output_shape=self.block_shapes.get(one.name, one.output_shape)) for one in folded)

    def stages(self) -> tuple[Layer, ...]:
        """The blocks folded further, as long as the shape stays: the trace that the documents print."""
        folded: list[Layer] = []
        for block in self.blocks():
            if folded and folded[-1].output_shape == block.output_shape:
                folded[-1] = replace(joined(folded[-1], block), name=f"{folded[-1].name.split(' ')[0]} .. {block.name}")
            else:
                folded.append(block)
        return tuple(folded)


def joined(first: Layer, second: Layer) -> Layer:
    """Two layers, one after the other, as one."""
    return replace(
        second,
        name=first.name,
        kind="block",
        input_shape=first.input_shape,
        parameters=first.parameters + second.parameters,
        multiply_adds=first.multiply_adds + second.multiply_adds,
        training_bytes=first.training_bytes + second.training_bytes,
        evaluation_bytes=max(first.evaluation_bytes, second.evaluation_bytes),
    )


Watch = Callable[[str, nn.Module, tuple[Any, ...], Any], object]


@contextmanager
def watched(network: nn.Module, before: Watch, after: Watch) -> Iterator[None]:
    """Call `before` and `after` around each layer that has no layers inside or has parameters of its own."""
    handles = []
    for name, module in network.named_modules():
        if next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None:
            continue

        def enter(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
            before(name, module, given, None)

        def leave(module: nn.Module, given: tuple[Any, ...], output: Any, name: str = name) -> None:
            after(name, module, given, output)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def blank(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """One blank picture (1, C, H, W) where the network is."""
    first = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)


def multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Of a convolution or a dense layer: each output value takes one for each weight that it is made with."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 0


def block_names(network: nn.Module) -> dict[str, str]:
    """For each layer the block it belongs to: a part with a class of its own; in plain sequences, up to a pooling."""
    names: dict[str, str] = {}

    def walk(parent: nn.Module, prefix: str) -> None:
        group = ""
        for key, child in parent.named_children():
            name = f"{prefix}{key}"
            if isinstance(child, CONTAINERS):
                walk(child, f"{name}.")
                group = ""
            elif next(child.children(), None) is not None:
                names.update((f"{name}.{inner}" if inner else name, name) for inner, _ in child.named_modules())
                group = ""
            elif isinstance(parent, nn.Sequential) and prefix:
                group = group or name
                names[name] = group
                group = "" if isinstance(child, (*POOLINGS, nn.Flatten)) else group
            else:
                names[name] = name

    walk(network, "")
    return names


def summarize(network: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Summary:
    """The summary of any nn.Module for pictures of `input_shape` (C, H, W).

    What is kept for the backward pass is what torch keeps, with norms and dropout in evaluation mode.
    """
    layers: list[Layer] = []
    counted: set[int] = set()
    kept = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    saved: list[int] = [0]
    blocks = block_names(network)

    def keep(tensor: Tensor) -> None:  # returning the tensor would tie it to itself, never to be freed
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            kept.add(storage.data_ptr())
            alive.append(tensor.detach())
            saved[0] += storage.nbytes()

    alive: list[Tensor] = []  # so that no storage is used twice within the pass

    def after(layer: str, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        own = [one for one in module.parameters(recurse=False) if id(one) not in counted]
        counted.update(map(id, own))
        tensor = output if isinstance(output, Tensor) else torch.empty(0)
        shapes = [tuple(one.shape[1:]) for one in given if isinstance(one, Tensor)]
        seen = seen_by(output) or Seen()
        values = tensor.numel() + sum(one.numel() for one in given if isinstance(one, Tensor))
        layers.append(
            Layer(
                layer,
                type(module).__name__,
                shapes[0] if shapes else (),
                tuple(tensor.shape[1:]),
                sum(one.numel() for one in own),
                multiply_adds(module, tensor),
                saved[0],
                values * FLOAT,
                min(seen.receptive_field, max(input_shape[1:])),
                seen.stride,
                blocks.get(layer, layer),
            )
        )
        saved[0] = 0

    shapes: dict[str, tuple[int, ...]] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            shapes[name] = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()

        return hook

    parts = dict(network.named_modules())
    handles = [parts[name].register_forward_hook(remember(name)) for name in {*blocks.values()} & set(parts)]
    picture = blank(network, input_shape)
    mark(picture, Seen())
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with at_rest(network), watched(network, lambda *_: None, after), torch.enable_grad(), Trace(), hooks:
        try:
            output = network(picture)
        finally:
            for handle in handles:
                handle.remove()
    every, seen = list(network.parameters()), seen_by(output) or Seen()
    return Summary(
        name or type(network).__name__,
        input_shape,
        tuple(output.shape[1:]),
        tuple(layers),
        sum(one.numel() for one in every),
        sum(one.numel() for one in every if one.requires_grad),
        sum(layer.multiply_adds for layer in layers),
        sum(layer.training_bytes for layer in layers) + saved[0],
        max((layer.evaluation_bytes for layer in layers), default=0),
        seen.convolutions,
        seen.dense,
        {name: shape for name, shape in shapes.items() if list(parts[name].children())},
    )
