"""`summary` and `diagram`: a network's layers and their cost, before it is trained."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from torch import nn

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.settings import convert
from lenext.inspection.diagram import Direction, Shape, lay_out
from lenext.inspection.doctor import build_without_weights, needs_values
from lenext.inspection.network_graph import Detail, block_graph, network_graph
from lenext.inspection.summary import Layer, Summary, summarize
from lenext.models import MODELS, find_variant
from lenext.models.user_network import is_user_network
from lenext.reporting.networks import Diagram, LayerTable, Level
from lenext.training.experiment import Experiment
from lenext.workflows.prepare import check_fit, draw_network, network_options, resolve_experiment


def summary(
    network: str | nn.Module,
    *,
    by: Level = "layer",
    image_size: int | None = None,
    channels: int | None = None,
    classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> LayerTable:
    """Return the table of a network's layers: output shapes, parameters, multiply-adds, memory, receptive field.

    Args:
        network: A name, `FILE.py:Class`, or a module.
        by: How far the table is folded.
        image_size: Pixels a side; None for the design size. Needed for a user-defined network and a module.
        channels: Channels of the images; None for the network's default.
        classes: Number of classes; None for the network's default. A module keeps its own.
        options: Options of the network, by name.

    Returns:
        A table that prints as text and shows as HTML in a notebook; its `summary` holds the figures.

    Raises:
        ConfigurationError: The network is unknown, or does not fit the images.
    """
    module, shape = build_for_inspection(network, options or {}, image_size, channels, classes)
    return LayerTable(summarize(module, shape, network_name(network)), by)


def diagram(
    network: str | nn.Module,
    *,
    against: str | nn.Module = "",
    block: str = "",
    by: Detail = "block",
    direction: Direction = "portrait",
    shape: Shape = "boxes",
    image_size: int | None = None,
    channels: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Diagram:
    """Draw a network, or one block of it.

    Args:
        network: A name, `FILE.py:Class`, or a module.
        against: Another network, drawn beside it.
        block: The name of one part, as in `lenext summary`; empty for the full network.
        by: Blocks, without norms and activations, or all layers.
        direction: From top to bottom (portrait), or from left to right (landscape).
        shape: Equal boxes, or volumes that shrink and deepen as the maps do.
        image_size: Pixels a side; None for the design size. Needed for a user-defined network and a module.
        channels: Channels of the images; None for the network's default.
        options: Options of the networks, by name.

    Returns:
        A diagram whose `svg` is the text; a notebook shows it, `save` writes SVG, PNG or PDF.

    Raises:
        ConfigurationError: A network or the block is unknown, or a network does not fit the images.
    """
    for name, value, kind in (("by", by, Detail), ("direction", direction, Direction), ("shape", shape, Shape)):
        convert(name, value, kind)
    if block and by != "block":
        raise ConfigurationError(f"by={by}: a block is always drawn by its layers; leave it out")
    graphs = []
    for each in (network, against) if against else (network,):
        module, input_shape = build_for_inspection(each, options or {}, image_size, channels, None)
        name = network_name(each)
        names = find_variant(name).paper_names if isinstance(each, str) and name in MODELS else {}
        nodes = block_graph(module, block, input_shape) if block else network_graph(module, input_shape, by, names)
        graphs.append((f"{name}: {block}" if block else name, nodes))
    return Diagram(lay_out(graphs, direction, shape))


def network_name(network: str | nn.Module) -> str:
    """Return the name under which a network is shown."""
    return network if isinstance(network, str) else type(network).__name__


def build_for_inspection(
    network: str | nn.Module,
    options: Mapping[str, Any],
    image_size: int | None,
    channels: int | None,
    classes: int | None,
) -> tuple[nn.Module, tuple[int, int, int]]:
    """Build a network for the images asked for, else for those of its design.

    Its weights are initialized only where it cannot run without them: a summary or a diagram needs shapes alone.

    Returns:
        The network, and the (C, H, W) of its images.
    """
    for name, value in (("image_size", image_size), ("channels", channels), ("classes", classes)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{name}={value}: it must be at least 1")
    if isinstance(network, nn.Module):
        if image_size is None:
            raise ConfigurationError(f"{type(network).__name__}: give image_size, the pixels a side of its images")
        return network, (channels or 3, image_size, image_size)
    experiment = Experiment(network=network, options=options)
    if image_size is not None:
        experiment = Experiment(network, options, recipe=experiment.recipe.with_keys({"image_size": image_size}))
    if is_user_network(network):
        if image_size is None:
            raise ConfigurationError(f"{network}: for images of which size? Give --image-size")
        defaults = {"in_channels": 3, "num_classes": 10}
    else:
        defaults = {key: option.default for key, option in find_variant(network).parameters().items()}
    experiment = resolve_experiment(experiment)
    size = int(experiment.recipe.image_size)
    shape = (channels or defaults["in_channels"], size, size)
    number = classes or defaults["num_classes"]

    def build() -> nn.Module:
        return draw_network(experiment, network_options(experiment, shape[0], number, size))

    try:
        module = build_without_weights(build)
        check_fit(module, experiment, shape, number)
    except LenextError as error:
        if not needs_values(error):
            raise
        module = build()
        check_fit(module, experiment, shape, number)
    return module, shape


def layer_differences(
    first: Summary, second: Summary, options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Compare two networks layer by layer, in the order of their calls; equal layers are left out.

    Args:
        first: The one network.
        second: The other network.
        options: Options of the first network.

    Returns:
        Rows of two texts, by the names of the networks.
    """
    first_layers, second_layers = ([describe_layer(layer) for layer in each.layers] for each in (first, second))
    rows = option_differences(first.network, second.network, options or {})
    for tag, a, b, c, d in SequenceMatcher(None, first_layers, second_layers, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        left = named_layers(first.layers[a:b], first_layers[a:b])
        right = named_layers(second.layers[c:d], second_layers[c:d])
        rows += [{first.network: x, f"{second.network} ": y} for x, y in zip_longest(left, right, fillvalue="")]
    return rows


def describe_layer(layer: Layer) -> str:
    """Return a layer's kind, output shape and number of parameters."""
    shape = " x ".join(map(str, layer.output_shape))
    return f"{layer.kind} {shape}{f' ({layer.parameters:,})' if layer.parameters else ''}"


def named_layers(layers: Sequence[Layer], descriptions: Sequence[str]) -> list[str]:
    return [f"{layer.name}: {text}" for layer, text in zip(layers, descriptions, strict=True)]


def option_differences(first: str, second: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare the options of two variants of one constructor, such as a norm without parameters."""
    if is_user_network(first) or is_user_network(second) or MODELS[first] != MODELS[second]:
        return []
    first_options, second_options = (
        {key: option.default for key, option in find_variant(name).parameters().items()} for name in (first, second)
    )
    first_options |= find_variant(first).convert_options(first, options)
    return [
        {first: f"option {key}={first_options[key]}", f"{second} ": f"option {key}={second_options[key]}"}
        for key in first_options
        if key in second_options and first_options[key] != second_options[key]
    ]
