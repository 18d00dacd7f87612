"""What a network is made of and what it costs, layer by layer, measured on one blank image."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.modes import evaluation_mode
from lenext.inspection.counting import Counter
from lenext.inspection.field_tracing import FieldTracer, field_of, set_field
from lenext.inspection.receptive_field import ReceptiveField, image_field

FLOAT = 4  # bytes of a value in fp32
CONTAINERS = (nn.Sequential, nn.ModuleList)
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Layer:
    """One call of one layer, or a block of them; or, as `NAME (functional)`, what a block computes outside its layers.

    output_shape: without N. parameters: its own, counted at the first call. multiply_adds: of convolutions and products
    of matrices, for one image; uncounted: operations that may add to them, by an amount that is not known.
    training_bytes: what is kept for the backward pass; evaluation_bytes: its input and output. receptive_field, stride:
    in pixels of the image. block: the part of the network that it belongs to.
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
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """The layers in the order in which they are called, and the totals for one image. input_shape is (C, H, W).

    convolutions, dense: weighted layers on the longest way through, as networks are named by (the 18 of ResNet-18).
    block_shapes: what the blocks with a class of their own give, which may be more than their last layer does.
    training_bytes: activations kept for the backward pass. evaluation_bytes: the most that a layer has in hand.
    uncounted: operations whose multiply-adds are not known; where there are any, `multiply_adds` is the least.
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
    uncounted: tuple[str, ...] = ()

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
        uncounted=tuple(sorted({*first.uncounted, *second.uncounted})),
    )


Watch = Callable[[str, nn.Module, tuple[Any, ...], Any], object]


def is_layer(module: nn.Module) -> bool:
    """Whether a module has no modules inside, or has parameters of its own."""
    return next(module.children(), None) is None or next(module.parameters(recurse=False), None) is not None


@contextmanager
def watch_modules(network: nn.Module, before: Watch, after: Watch) -> Iterator[None]:
    """Call `before` and `after` around each part of a network, itself included."""
    handles = []
    for name, module in network.named_modules():

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


def blank_image(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """One blank image (1, C, H, W) where the network is."""
    first = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)


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


class Recording:
    """The rows of a pass through a network, added as its parts end, and the storages kept for the backward pass."""

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...]) -> None:
        self.layers: list[Layer] = []
        self.block_shapes: dict[str, tuple[int, ...]] = {}
        self.counter = Counter()
        self.saved = 0  # bytes since the last row
        self.height, self.width = input_shape[1:]
        self.blocks = block_names(network)
        weights = [tensor.untyped_storage() for tensor in (*network.parameters(), *network.buffers())]
        self.alive: list[Any] = weights  # so that no storage is used twice within the pass
        self.known = {storage._cdata for storage in weights}  # on the meta device, the addresses of the data are 0
        self.counted: set[int] = set()

    def keep(self, tensor: Tensor) -> None:
        """Take in a tensor that is saved for the backward pass; returning it would tie it to itself for ever."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.alive.append(storage)
            self.saved += storage.nbytes()

    def before(self, *_: Any) -> None:
        """A part begins."""
        self.counter.open()

    def after(self, name: str, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        """A part ends: a layer makes a row; a block only where it computes by itself."""
        work = self.counter.close()
        tensor = first_tensor(output)
        if name in self.blocks.values() and next(module.children(), None) is not None:
            self.block_shapes[name] = tuple(tensor.shape[1:])
        label = name
        if not is_layer(module):
            if not work.multiply_adds and not work.uncounted:
                return
            label = f"{name} (functional)"
        inside = is_layer(module) and name != ""  # attention uses the weights of a layer inside without calling it
        own = [weight for weight in module.parameters(recurse=inside) if id(weight) not in self.counted]
        self.counted.update(map(id, own))
        inputs = [value for value in given if isinstance(value, Tensor)]
        field = field_of(output) or ReceptiveField()
        self.layers.append(
            Layer(
                label.strip() or "(functional)",
                type(module).__name__,
                tuple(inputs[0].shape[1:]) if inputs else (),
                tuple(tensor.shape[1:]),
                sum(weight.numel() for weight in own),
                work.multiply_adds,
                self.saved,
                (tensor.numel() + sum(value.numel() for value in inputs)) * FLOAT,
                field.size_within(self.height, self.width),
                field.stride,
                self.blocks.get(name, label.strip() or "(functional)"),
                tuple(sorted(work.uncounted)),
            )
        )
        self.saved = 0


def first_tensor(output: Any) -> Tensor:
    """A layer's output, or the first of several; empty where there is none."""
    if isinstance(output, Tensor):
        return output
    outputs = output if isinstance(output, list | tuple) else []
    return next((value for value in outputs if isinstance(value, Tensor)), torch.empty(0))


@contextmanager
def attention_in_steps() -> Iterator[None]:
    """While entered, torch's attention layers run as they do in training, not as one operation that hides its work."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def summarize(network: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Summary:
    """The summary of any nn.Module for images of `input_shape` (C, H, W).

    What is kept for the backward pass is what torch keeps, with norms and dropout in evaluation mode.
    """
    recording = Recording(network, input_shape)
    image = blank_image(network, input_shape)
    set_field(image, image_field(image.shape))
    hooks = torch.autograd.graph.saved_tensors_hooks(recording.keep, lambda tensor: tensor)
    with (
        evaluation_mode(network), watch_modules(network, recording.before, recording.after), attention_in_steps(),
        torch.enable_grad(), FieldTracer(), recording.counter, hooks,
    ):  # fmt: skip
        output = network(image)
    layers, weights = recording.layers, list(network.parameters())
    field = field_of(output) or ReceptiveField()
    return Summary(
        name or type(network).__name__,
        input_shape,
        tuple(output.shape[1:]),
        tuple(layers),
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in weights if weight.requires_grad),
        sum(layer.multiply_adds for layer in layers),
        sum(layer.training_bytes for layer in layers) + recording.saved,
        max((layer.evaluation_bytes for layer in layers), default=0),
        field.convolutions,
        field.dense,
        recording.block_shapes,
        tuple(sorted({operation for layer in layers for operation in layer.uncounted})),
    )
