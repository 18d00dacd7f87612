"""`list` and `summary`: what there is, and what a network is made of."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.inspection.diagram import draw_diagram
from lenext.inspection.doctor import build_without_weights, needs_values
from lenext.inspection.network_graph import block_graph, network_graph
from lenext.inspection.summary import Layer, Summary, summarize
from lenext.models import MODELS, find_variant
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run, find_runs
from lenext.training.experiment import Experiment
from lenext.workflows.prepare import check_fit, draw_network, network_options, resolve_image_size


def describe_models() -> list[dict[str, Any]]:
    """Each network with its family, parameters (as it comes), input and source."""
    rows = []
    for name, family in MODELS.items():
        variant = find_variant(name)
        with torch.device("meta"):
            network = variant.build()
        channels = variant.parameters()["in_channels"].default
        rows.append(
            {
                "name": name,
                "family": family,
                "parameters": sum(one.numel() for one in network.parameters()),
                "input": f"{channels} x {variant.image_size} x {variant.image_size}",
                "kind": variant.kind,
                "source": variant.source,
            }
        )
    return rows


def describe_runs(runs_dir: Path) -> list[dict[str, Any]]:
    """Each run with what it trained on what, and how it ended."""
    return [describe_run(run) for run in find_runs(runs_dir)]


def describe_run(run: Run) -> dict[str, Any]:
    """One run; a broken one is shown as such."""
    row: dict[str, Any] = dict.fromkeys(("run", "network", "data", "epochs", "state", "validation", "test"))
    row["run"] = str(run.path)
    try:
        experiment, results = run.experiment, run.results
        row |= {"network": experiment.network or "(made in Python)", "data": experiment.data}
        row["epochs"] = f"{len(run.records)}/{experiment.recipe.epochs}"
        row["state"] = "finished" if run.is_finished(experiment) else "unfinished"
        for part in ("validation", "test"):
            row[part] = (results.get(part) or {}).get("accuracy")
    except (LenextError, AttributeError, TypeError) as error:
        row["data"] = f"broken: {error}"
    return row


def summarize_named(
    network: str, options: Mapping[str, Any], image_size: int | None, channels: int | None, classes: int | None
) -> Summary:
    """The summary of a network by name, for the images and classes asked for, else those it is made for."""
    module, shape = network_named(network, options, image_size, channels, classes)
    return summarize(module, shape, network)


def diagram_of(
    networks: Sequence[str], options: Mapping[str, Any], part: str, image_size: int | None, channels: int | None
) -> str:
    """An SVG of networks side by side, or of one part of each."""
    columns = []
    for name in networks:
        module, shape = network_named(name, options, image_size, channels, None)
        nodes = block_graph(module, part, shape) if part else network_graph(module, shape)
        columns.append((f"{name}: {part}" if part else name, nodes))
    return draw_diagram(columns)


def network_named(
    network: str, options: Mapping[str, Any], image_size: int | None, channels: int | None, classes: int | None
) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network by name, and the (C, H, W) of the images asked for, else those it is made for.

    Its weights are drawn only where it cannot run without them: shapes are all that a summary or a diagram needs.
    """
    for what, value in (("image_size", image_size), ("channels", channels), ("classes", classes)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{what}={value}: it must be at least 1")
    experiment = Experiment(network=network, options=options)
    if image_size is not None:
        experiment = Experiment(network, options, recipe=experiment.recipe.with_keys({"image_size": image_size}))
    if is_user_network(network):
        if image_size is None:
            raise ConfigurationError(f"{network}: for which images? Give --image-size")
        defaults = {"in_channels": 3, "num_classes": 10}
    else:
        defaults = {key: one.default for key, one in find_variant(network).parameters().items()}
    experiment = resolve_image_size(experiment)
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


def differences(first: Summary, second: Summary, options: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Layer by layer where two networks differ, in their order of calling; what is the same in both is left out.

    options: of the first network, where it is not as it comes.
    """

    def said(layer: Layer) -> str:
        shape = " x ".join(map(str, layer.output_shape))
        return f"{layer.kind} {shape}{f' ({layer.parameters:,})' if layer.parameters else ''}"

    ours, theirs = ([said(layer) for layer in one.layers] for one in (first, second))
    rows = option_differences(first.network, second.network, options or {})
    for tag, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        left = [f"{layer.name}: {text}" for layer, text in zip(first.layers[a:b], ours[a:b], strict=True)]
        right = [f"{layer.name}: {text}" for layer, text in zip(second.layers[c:d], theirs[c:d], strict=True)]
        rows += [{first.network: x, f"{second.network} ": y} for x, y in zip_longest(left, right, fillvalue="")]
    return rows


def option_differences(first: str, second: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The options in which two variants of one constructor differ, such as a norm that has no parameters."""
    if is_user_network(first) or is_user_network(second) or MODELS[first] != MODELS[second]:
        return []
    ours, theirs = (
        {key: one.default for key, one in find_variant(name).parameters().items()} for name in (first, second)
    )
    ours |= find_variant(first).convert_options(first, options)
    return [
        {first: f"option {key}={ours[key]}", f"{second} ": f"option {key}={theirs[key]}"}
        for key in ours
        if key in theirs and ours[key] != theirs[key]
    ]
