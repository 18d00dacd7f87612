"""The content of a page: networks as operations with packed weights, and images to begin with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lenext.data.preprocessing import Preprocessing
from lenext.explorer.onnx_graph import onnx_graph
from lenext.explorer.operations import Operation
from lenext.explorer.packing import Pack, Storage
from lenext.foundation.normalization import shift_and_scale
from lenext.inspection.layer_labels import describe_layer
from lenext.inspection.modules import CONTAINERS

KIND_LABELS = {
    "add": "Addition", "multiply": "Product", "concatenate": "Concatenation", "scale": "Scale", "reshape": "Reshape",
    "slice": "Part of the channels", "pad": "Padding", "permute": "Other order of axes", "softmax": "Softmax",
    "pool": "Pooling", "adaptive_pool": "Global pooling", "convolution": "Convolution", "dense": "Dense",
    "batch_norm": "Batch norm", "layer_norm": "Layer norm", "group_norm": "Group norm",
}  # fmt: skip
LAYER_KINDS = {
    "convolution": "convolution", "dense": "dense", "pool": "pooling", "adaptive_pool": "pooling", "batch_norm": "norm",
    "layer_norm": "norm", "group_norm": "norm", "activation": "activation",
}  # fmt: skip
ACTIVATION_NAMES = {"relu": "ReLU", "gelu": "GELU", "gelu_tanh": "GELU", "silu": "SiLU"}


@dataclass(frozen=True)
class TracedNetwork:
    """A network of a page.

    Attributes:
        name: What the page calls it.
        module: The network.
        operations: Its operations.
        prepare: From stored pixels to its input.
    """

    name: str
    module: nn.Module
    operations: Sequence[Operation]
    prepare: Preprocessing


@dataclass
class Samples:
    """Images in a page.

    Attributes:
        pixels: (N, C, H, W), as they are stored.
        labels: Their true classes (N,).
        examples: Rows to begin with.
        cells: Rows by cell of the confusion matrix, (true, predicted).
        counts: The confusion matrix (K, K); None without one.
        split: What they are of: test, validation or training.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    examples: Sequence[int] = ()
    cells: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict)
    counts: NDArray[np.int64] | None = None
    split: str = ""


def page_data(
    networks: Sequence[TracedNetwork],
    classes: Sequence[str],
    samples: Samples,
    storage: Storage,
    has_graph: bool = False,
) -> tuple[str, str]:
    """Return what the page's script reads: JSON, and the arrays that it names as text.

    Args:
        networks: One or two, of the same classes and stored pixels.
        classes: Names of the classes.
        samples: Images.
        storage: How exact weights are kept.
        has_graph: Whether the page has the networks as ONNX graphs, too.
    """
    pack = Pack()
    described = [describe_network(network, pack, storage, samples) for network in networks]
    if has_graph:
        for network, each in zip(networks, described, strict=True):
            entries = [step["tensors"] for step in each["steps"]]
            graph, weights = onnx_graph(network.operations, entries, network.prepare.input_shape)
            each["graph"] = {"entry": pack.append(graph, (len(graph),), "uint8"), "weights": weights}
    pixels = pack.add_pixels(samples.pixels) if len(samples.pixels) else 0

    def sample(row: int) -> dict[str, int]:
        return {"pixels": pixels, "row": int(row), "label": int(samples.labels[row])}

    shapes = [[(each.kind, each.shape) for each in network.operations] for network in networks]
    confusion = None
    if samples.counts is not None:
        cells = {f"{true},{predicted}": list(map(sample, rows)) for (true, predicted), rows in samples.cells.items()}
        confusion = {"counts": samples.counts.tolist(), "cells": cells}
    content = {
        "networks": described,
        "alike": len(networks) > 1 and shapes[0] == shapes[1],
        "classes": list(classes),
        "examples": list(map(sample, samples.examples)),
        "confusion": confusion,
        "entries": pack.entries,
    }
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c"), pack.to_text()


def describe_network(network: TracedNetwork, pack: Pack, storage: Storage, samples: Samples) -> dict[str, Any]:
    """Return a network's operations as JSON, with their weights in the pack."""
    modules = dict(network.module.named_modules())
    steps = [
        {
            "kind": operation.kind,
            "inputs": operation.inputs,
            "shape": operation.shape,
            "module": operation.module,
            "label": label_of(operation, modules),
            **operation.settings,
            "tensors": {role: pack.add_weights(weights, storage) for role, weights in operation.tensors.items()},
        }
        for operation in network.operations
    ]
    parts = [(name, module) for name, module in modules.items() if next(module.children(), None) is not None]
    groups = {name: group_label(name, module) for name, module in parts}
    settings = describe_preprocessing(network.prepare, samples)
    return {"name": network.name, "steps": steps, "groups": groups, "settings": settings}


def label_of(operation: Operation, modules: Mapping[str, nn.Module]) -> str:
    """Return a label such as `Conv 3x3, 64 /2`: the module's, where the operation is all of it."""
    module = modules.get(operation.module)
    if module is not None and next(module.children(), None) is None:
        kind, label = describe_layer(module)
        if kind == LAYER_KINDS.get(operation.kind):
            return label
    if operation.kind == "activation":
        name = str(operation.settings["function"])
        return ACTIVATION_NAMES.get(name, name.replace("_", " ").capitalize())
    return KIND_LABELS[operation.kind]


def group_label(name: str, module: nn.Module) -> str:
    """Return the label of a part of a network: the block's, or the last part of a plain sequence's name."""
    if not isinstance(module, CONTAINERS):
        return describe_layer(module)[1]
    key = name.rpartition(".")[2]
    return f"Part {key}" if key.isdigit() else key.capitalize()


def describe_preprocessing(prepare: Preprocessing, samples: Samples) -> dict[str, Any]:
    """Return the preprocessing as the page's script reads it, with the mean of the images by channel."""
    mean = list(prepare.normalization.mean)
    if len(samples.pixels):  # a scaling that looks at no data has no mean of them
        mean = (samples.pixels.mean((0, 2, 3)) / 255).tolist()
    shift, scale = shift_and_scale(prepare.normalization, torch.device("cpu"))
    return {
        "channels": prepare.channels,
        "storedSize": prepare.stored_size,
        "fit": prepare.stored_fit,
        "imageSize": prepare.image_size,
        "resize": prepare.resize,
        "networkChannels": prepare.network_channels or prepare.channels,
        "shift": shift.flatten().tolist(),
        "scale": scale.flatten().tolist(),
        "mean": mean,
        "brightness": sum(mean) / len(mean),
    }
