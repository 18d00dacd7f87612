"""Summarize a network layer by layer: shapes, parameters, multiply-adds, memory, receptive fields."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.modes import evaluation_mode
from lenext.inspection.counting import Counter, Work
from lenext.inspection.field_tracing import FieldTracer, field_of, set_field
from lenext.inspection.modules import blank_image, block_names, is_layer, watch_modules
from lenext.inspection.receptive_field import ReceptiveField, image_field

FLOAT_BYTES = 4  # of a value in fp32


@dataclass(frozen=True)
class Layer:
    """One call of a layer, or a block of layers; `NAME (functional)` is what a block computes outside its layers.

    Attributes:
        name: Name of the module in the network.
        kind: Name of its class, or "block".
        input_shape: Shape of the input without N.
        output_shape: Shape of the output without N.
        parameters: Number of its parameters, counted at its first call only.
        multiply_adds: Multiply-adds of convolutions and matrix products for one image.
        training_bytes: Memory kept for the backward pass.
        evaluation_bytes: Memory of its input and output.
        receptive_field: Side in pixels of the image.
        stride: Pixels of the image between neighbouring values.
        block: Name of the block that it belongs to.
        uncounted: Operations that may add an unknown number of multiply-adds.
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
    """The layers of a network in the order of their calls, and the totals for one image.

    Attributes:
        network: Name of the network.
        input_shape: Shape (C, H, W) of the image.
        output_shape: Shape of the output without N.
        layers: The calls of layers, in order.
        parameters: Number of parameters.
        trainable: Number of parameters that are trained.
        multiply_adds: Multiply-adds of all layers; a lower bound if there are `uncounted` operations.
        training_bytes: Activations kept for the backward pass.
        evaluation_bytes: Largest input and output of a layer.
        convolutions: Convolutions on the longest path, as in names of networks (with `dense`, the 18 of ResNet-18).
        dense: Dense layers on that path.
        block_shapes: Output shapes of the blocks by name, which may differ from those of their last layers.
        uncounted: Operations whose multiply-adds are not known.
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
        """Return the layers merged by block: ResNet's residual blocks, VGG's stacks with their pooling, ..."""
        folded: list[Layer] = []
        for layer in self.layers:
            if folded and folded[-1].name == layer.block:
                folded[-1] = merge_layers(folded[-1], layer)
            else:
                kind = layer.kind if layer.block == layer.name else "block"
                folded.append(replace(layer, name=layer.block, kind=kind))
        shapes = self.block_shapes
        return tuple(replace(row, output_shape=shapes.get(row.name, row.output_shape)) for row in folded)

    def stages(self) -> tuple[Layer, ...]:
        """Return the blocks merged further, as long as the output shape stays: the trace that the documents print."""
        folded: list[Layer] = []
        for block in self.blocks():
            if folded and folded[-1].output_shape == block.output_shape:
                first = folded[-1].name.split(" ")[0]
                folded[-1] = replace(merge_layers(folded[-1], block), name=f"{first} .. {block.name}")
            else:
                folded.append(block)
        return tuple(folded)


def merge_layers(first: Layer, second: Layer) -> Layer:
    """Merge two consecutive layers into one row."""
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


class LayerRecorder:
    """Records a row for each layer of a forward pass, and the memory that is kept for the backward pass.

    Attributes:
        layers: The rows so far.
        block_shapes: Output shapes of the blocks so far.
        counter: Counts the multiply-adds of the module that runs.
        saved_bytes: Bytes kept for the backward pass since the last row.
    """

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...]) -> None:
        self.layers: list[Layer] = []
        self.block_shapes: dict[str, tuple[int, ...]] = {}
        self.counter = Counter()
        self.saved_bytes = 0
        self.height, self.width = input_shape[1:]
        self.blocks = block_names(network)
        weights = [tensor.untyped_storage() for tensor in (*network.parameters(), *network.buffers())]
        self.storages: list[Any] = weights  # kept, so that no storage is reused within the pass
        # On the meta device all data addresses are 0: a storage is identified by its C++ object.
        self.counted_storages = {storage._cdata for storage in weights}
        self.counted_parameters: set[int] = set()

    def count_saved_tensor(self, tensor: Tensor) -> None:
        """Count a tensor that autograd saves; to return it would make a reference cycle."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.counted_storages:
            self.counted_storages.add(storage._cdata)
            self.storages.append(storage)
            self.saved_bytes += storage.nbytes()

    def enter_module(self, *_: Any) -> None:
        self.counter.open()

    def leave_module(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Add a row for a layer; for a block only if it computes outside of its layers."""
        work = self.counter.close()
        if name in self.blocks.values() and next(module.children(), None) is not None:
            self.block_shapes[name] = tuple(first_tensor(output).shape[1:])
        if is_layer(module):
            self.add_row(name or "(functional)", name, module, inputs, output, work)
        elif work.multiply_adds or work.uncounted:
            self.add_row(f"{name} (functional)".strip(), name, module, inputs, output, work)

    def add_row(
        self, label: str, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any, work: Work
    ) -> None:
        input_tensors, output_tensor = [value for value in inputs if isinstance(value, Tensor)], first_tensor(output)
        field = field_of(output) or ReceptiveField()
        values = output_tensor.numel() + sum(tensor.numel() for tensor in input_tensors)
        self.layers.append(
            Layer(
                name=label,
                kind=type(module).__name__,
                input_shape=tuple(input_tensors[0].shape[1:]) if input_tensors else (),
                output_shape=tuple(output_tensor.shape[1:]),
                parameters=self.count_parameters(name, module),
                multiply_adds=work.multiply_adds,
                training_bytes=self.saved_bytes,
                evaluation_bytes=values * FLOAT_BYTES,
                receptive_field=field.size_within(self.height, self.width),
                stride=field.stride,
                block=self.blocks.get(name, label),
                uncounted=tuple(sorted(work.uncounted)),
            )
        )
        self.saved_bytes = 0

    def count_parameters(self, name: str, module: nn.Module) -> int:
        """Return the number of a module's parameters that no earlier row has counted."""
        recurse = is_layer(module) and name != ""  # attention uses the weights of a layer inside without calling it
        new = [weight for weight in module.parameters(recurse=recurse) if id(weight) not in self.counted_parameters]
        self.counted_parameters.update(map(id, new))
        return sum(weight.numel() for weight in new)


def first_tensor(output: Any) -> Tensor:
    """Return a layer's output, or the first of several; an empty tensor if there is none."""
    if isinstance(output, Tensor):
        return output
    outputs = output if isinstance(output, list | tuple) else []
    return next((value for value in outputs if isinstance(value, Tensor)), torch.empty(0))


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Run torch's attention layers as in training, not as one operation that hides its work."""
    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)


def summarize(network: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Summary:
    """Summarize any nn.Module, by running it on one blank image.

    The memory for training is what autograd saves, with norms and dropout in evaluation mode.

    Args:
        network: The network.
        input_shape: Shape (C, H, W) of an image.
        name: Name of the network; by default that of its class.
    """
    recorder = LayerRecorder(network, input_shape)
    image = blank_image(network, input_shape)
    set_field(image, image_field(image.shape))
    saved_tensors = torch.autograd.graph.saved_tensors_hooks(recorder.count_saved_tensor, lambda tensor: tensor)
    with (
        evaluation_mode(network), watch_modules(network.named_modules(), recorder.enter_module, recorder.leave_module),
        unfused_attention(), torch.enable_grad(), FieldTracer(), recorder.counter, saved_tensors,
    ):  # fmt: skip
        output = network(image)
    layers, parameters = recorder.layers, list(network.parameters())
    field = field_of(output) or ReceptiveField()
    return Summary(
        network=name or type(network).__name__,
        input_shape=input_shape,
        output_shape=tuple(output.shape[1:]),
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        training_bytes=sum(layer.training_bytes for layer in layers) + recorder.saved_bytes,
        evaluation_bytes=max((layer.evaluation_bytes for layer in layers), default=0),
        convolutions=field.convolutions,
        dense=field.dense,
        block_shapes=recorder.block_shapes,
        uncounted=tuple(sorted({operation for layer in layers for operation in layer.uncounted})),
    )
