"""Record a network as a graph of layers or blocks, by running it on one blank image."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.layer_labels import describe_layer
from lenext.inspection.modules import blank_image, block_names, watch_modules

VALUE_LAYERS = ("ReLU", "GELU", "Tanh", "Sigmoid", "Dropout", "Flatten", "Permute", "Identity")  # left out of overviews
Detail = Literal["block", "layer"]
JOINS = {"cat": "concatenate", "add": "+", "__add__": "+", "iadd": "+", "add_": "+", "__iadd__": "+"}


@dataclass(frozen=True)
class Node:
    """A layer, a block, or a join of tensors.

    Attributes:
        label: Description, such as `Conv 3x3, 64 /2`.
        kind: convolution, dense, pooling, norm, activation, block, join or other.
        shape: Shape of its output without N.
        inputs: Positions of the nodes before it.
        name: Name of the module in the network.
        times: Number of equal blocks in a row that it stands for.
    """

    label: str
    kind: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    name: str = ""
    times: int = 1


@dataclass
class GraphRecorder(TorchFunctionMode):
    """A context that follows tensors from node to node while a network runs; joins outside of nodes become nodes."""

    nodes: list[Node] = field(default_factory=list)
    open_modules: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.open_modules or not isinstance(result, Tensor):
            return result
        sources = source_nodes(args)
        if len(sources) > 1 and getattr(func, "__name__", "") in JOINS:
            self.nodes.append(Node(JOINS[func.__name__], "join", tuple(result.shape[1:]), sources))
            sources = (len(self.nodes) - 1,)
        if sources:
            result.lenext_sources = sources  # type: ignore[attr-defined]
        return result

    def enter_module(self, *_: Any) -> None:
        self.open_modules += 1

    def leave_module(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Add a node for a module that is not inside another node and changes its input."""
        self.open_modules -= 1
        is_identity = isinstance(module, nn.Identity) or (isinstance(module, nn.Dropout) and module.p == 0)
        if self.open_modules or not isinstance(output, Tensor) or is_identity:
            return
        kind, label = describe_layer(module)
        self.nodes.append(Node(label, kind, tuple(output.shape[1:]), source_nodes(inputs), name))
        output.lenext_sources = (len(self.nodes) - 1,)  # type: ignore[attr-defined]


def source_nodes(values: Any) -> tuple[int, ...]:
    """Return the nodes that tensors, nested in lists and tuples, come from."""
    if isinstance(values, Tensor):
        return tuple(getattr(values, "lenext_sources", ()))
    if isinstance(values, list | tuple):
        return tuple(dict.fromkeys(source for value in values for source in source_nodes(value)))
    return ()


def record_graph(
    network: nn.Module, input_shape: tuple[int, ...], modules: Mapping[str, nn.Module], input_label: str
) -> list[Node]:
    """Run a network on a blank image, and return a node for its input and for each of `modules`."""
    recorder = GraphRecorder([Node(input_label, "other", tuple(input_shape), ())])
    image = blank_image(network, input_shape)
    image.lenext_sources = (0,)  # type: ignore[attr-defined]
    watched = watch_modules(modules.items(), recorder.enter_module, recorder.leave_module)
    with watched, evaluation_mode(network), torch.no_grad(), recorder:
        network(image)
    return recorder.nodes


def network_graph(
    network: nn.Module,
    input_shape: tuple[int, ...],
    by: Detail = "block",
    paper_names: Mapping[str, str | tuple[str, ...]] | None = None,
) -> list[Node]:
    """Return a network as nodes.

    Args:
        network: The network.
        input_shape: (C, H, W) of its images.
        by: By layers; or by blocks without norms and activations, equal blocks in a row as one node.
        paper_names: The paper's names of parts, by patterns of their names in the module.
    """
    parts = dict(network.named_modules())
    if by == "layer":
        layers = {name: module for name, module in parts.items() if next(module.children(), None) is None}
        return with_paper_names(record_graph(network, input_shape, layers, "image"), paper_names or {})
    modules = {}
    for layer, block in block_names(network).items():
        is_block = block in parts and next(parts[block].children(), None) is not None
        name = block if is_block else layer
        modules[name] = parts[name]
    nodes = without_value_layers(record_graph(network, input_shape, modules, "image"))
    return merge_repeats(with_paper_names(nodes, paper_names or {}))


def with_paper_names(nodes: Sequence[Node], names: Mapping[str, str | tuple[str, ...]]) -> list[Node]:
    """Return nodes with the paper's name before their label, where it has one.

    Args:
        nodes: The nodes.
        names: A pattern of names in the module, and the paper's name; of a layer that runs several times, one each.
    """
    runs: Counter[str] = Counter()
    named = []
    for node in nodes:
        label = node.label
        for pattern, name in names.items():
            if match := re.fullmatch(pattern, node.name):
                paper_name = name if isinstance(name, str) else name[min(runs[node.name], len(name) - 1)]
                label = f"{match.expand(paper_name)}: {label}"
                break
        runs[node.name] += 1
        named.append(replace(node, label=label))
    return named


def block_graph(network: nn.Module, name: str, input_shape: tuple[int, ...]) -> list[Node]:
    """Return one part of a network by its layers. Raises ConfigurationError for a part that does not exist."""
    parts = dict(network.named_modules())
    if name not in parts or not name:
        names = sorted(filter(None, parts), key=lambda part: part.count("."))
        raise ConfigurationError(unknown_name("part of the network", name, names))
    block, shapes = parts[name], list[tuple[int, ...]]()
    handle = block.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[1:])))
    try:
        with evaluation_mode(network), torch.no_grad():
            network(blank_image(network, input_shape))
    finally:
        handle.remove()
    layers = {key: module for key, module in block.named_modules() if next(module.children(), None) is None}
    return record_graph(block, shapes[0], layers, "input")


def without_value_layers(nodes: Sequence[Node]) -> list[Node]:
    """Remove nodes that keep the shape, such as norms and activations."""
    new_positions: dict[int, int] = {}
    remaining: list[Node] = []
    for position, node in enumerate(nodes):
        inputs = tuple(dict.fromkeys(new_positions[source] for source in node.inputs))
        is_norm = "norm" in node.label.lower() and node.kind in ("norm", "other")
        if (is_norm or node.label.split(" (")[0] in VALUE_LAYERS) and len(inputs) == 1:
            new_positions[position] = inputs[0]
            continue
        new_positions[position] = len(remaining)
        remaining.append(replace(node, inputs=inputs))
    return remaining


def merge_repeats(nodes: Sequence[Node]) -> list[Node]:
    """Merge equal blocks in a row into one node with their number."""
    new_positions: dict[int, int] = {}
    merged: list[Node] = []
    for position, node in enumerate(nodes):
        inputs = tuple(new_positions[source] for source in node.inputs)
        last = merged[-1] if inputs == (len(merged) - 1,) else None
        if last and node.kind == "block" and (last.label, last.shape, last.kind) == (node.label, node.shape, node.kind):
            merged[-1] = replace(last, times=last.times + 1)
        else:
            merged.append(replace(node, inputs=inputs))
        new_positions[position] = len(merged) - 1
    return merged
