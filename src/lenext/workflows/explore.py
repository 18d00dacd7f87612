"""`explore`: a page that runs a network in the browser and shows every number that it computes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from lenext.data import shown_source
from lenext.data.preprocessing import Preprocessing
from lenext.explorer.document import write_document
from lenext.explorer.evaluation import evaluate, largest_difference
from lenext.explorer.operations import Operation
from lenext.explorer.packing import BYTES, Storage, as_stored
from lenext.explorer.page_data import Samples, TracedNetwork, page_data
from lenext.explorer.runtime import load_runtime
from lenext.explorer.tracing import INSTEAD, trace
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import cache_folder, expand_path, write_atomic
from lenext.foundation.settings import convert
from lenext.reporting.console import Console, open_console
from lenext.runs.folder import Run
from lenext.workflows.context import Context
from lenext.workflows.explore_samples import collect_samples, views
from lenext.workflows.explore_source import Opened, check_alike, network_of, open_model
from lenext.workflows.open_weights import StoredWeights

StoredAs = Literal["auto", "fp32", "fp24", "int8"]
Runtime = Literal["own", "ort"]
MAX_EXACT, MAX_ROUNDED, MAX_INT8 = 1_000_000, 2_000_000, 25_000_000  # parameters
MAX_PLACES = 100_000_000  # of the convolutions' weights on their maps, which the page remembers
TOLERANCE = 1e-5  # of a log-probability, by the largest one, between the operations and the network
CHECKED_IMAGES = 8
TEXT_BYTES = 4 / 3 * 0.9  # a compressed byte as text


def explore(
    model: str | Path | Run,
    *,
    against: str | Path | Run = "",
    out: str | Path = "",
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    pretrained: bool = False,
    stored_as: StoredAs = "auto",
    runtime: Runtime = "own",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool | Console = False,
) -> Path:
    """Write a page that runs a network in the browser, from one file, without a server.

    Draw, drop or photograph an image, and see every number that the network computes from it, and how each came about.
    The page has some images of the run's test split in it (else of validation or training), and its confusion matrix.

    Args:
        model: A run, its folder, a file of weights, or the name of a network, which is untrained unless `pretrained`.
        against: A second run or file of weights, to see both side by side: another variant, or another epoch.
        out: The file; by default explorer.html in the run's folder, or NAME.html in the working folder.
        weights: Which of the run's weights, not of `against`; None for the best.
        network: The user's own network, when weights are of one.
        pretrained: Whether the published weights of a network are explored.
        stored_as: How exact the weights in the page are: fp32; fp24, with a relative error of at most 1.6e-5; int8.
            auto is fp32 up to a million parameters, and fp24 up to two, of both networks together.
        runtime: What computes in the page: own, JavaScript that one can read; ort, onnxruntime-web, many times as fast
            for large networks, which adds 5 MB and is downloaded at its first use.
        data_dir: Where published data and onnxruntime-web are; None for the run's own folder.
        offline: Whether the network must not be used.
        quiet: Whether nothing is printed; or the console to print to.

    Returns:
        The path of the page.

    Raises:
        ConfigurationError: The network cannot be traced, or is too large for a page.
        LenextError: The weights cannot be opened.
    """
    convert("stored_as", stored_as, StoredAs)
    convert("runtime", runtime, Runtime)
    path = page_path(model, out)
    with open_console(quiet) as console:
        second_network = network_of(against, network) if against else ""
        first_network = network_of(model, network) if second_network else network
        is_own = runtime == "own"  # the options are for onnxruntime-web, too
        context = Context(data_dir, offline)
        first = open_model(model, weights, first_network, pretrained, context, refuses_context=is_own)
        opened = [first]
        if against:
            opened.append(open_model(against, None, second_network, False, Context()))
            check_alike(*opened)
        storage = choose_storage(opened, stored_as)
        folder = expand_path(data_dir) if data_dir else cache_folder()
        parts = load_runtime(folder, offline=offline) if runtime == "ort" else {}
        names = " and ".join(each.name for each in opened)
        console.print(f"tracing {names}")
        traced = list(map(trace_network, opened))
        samples, missing = collect_samples(first)
        for each in traced:
            check(each, samples)
        notices = [each for each in (missing, rounding(traced, storage, samples)) if each]
        for line in notices:
            console.print(line)
        data, arrays = page_data(traced, first.description.classes, samples, storage, has_graph=bool(parts))
        prepare = first.description.preprocessing
        content = write_document(
            data,
            arrays,
            parts,
            title=" against ".join(each.name for each in opened),
            subtitle=describe(first),
            notices=notices,
            networks=traced,
            colour=prepare.channels == 3,
            centre=prepare.channels == 1,
            examples_heading=f"Examples from the {samples.split} images",
            confusion=samples.counts is not None,
            confusion_about=f"The predictions of {first.name} for the test images{views(first)}.",
        )
        write_atomic(path, content)
        console.print(f"page: {path} ({len(content) / 1e6:.1f} MB); open it in a browser")
    return path


def page_path(model: str | Path | Run, out: str | Path) -> Path:
    """Return the path of the page. Raises ConfigurationError for another suffix or a folder that is missing."""
    if out:
        path = expand_path(out)
        if path.suffix.lower() not in (".html", ".htm") or path.name.startswith("."):
            raise ConfigurationError(f"out={out}: a page ends in .html")
        if not path.parent.is_dir():
            raise ConfigurationError(f"out={out}: there is no folder {path.parent}; make it first")
        return path
    path = model.path if isinstance(model, Run) else expand_path(model)
    if path.is_dir():
        return path / "explorer.html"
    return Path(f"{path.stem}.html")


def choose_storage(opened: Sequence[Opened], stored_as: StoredAs) -> Storage:
    """Return how weights are kept. Raises ConfigurationError where the page would be too large."""
    parameters = sum(weights.numel() for each in opened for weights in each.network.state_dict().values())
    if stored_as == "auto" and parameters <= MAX_ROUNDED:
        return "fp32" if parameters <= MAX_EXACT else "fp24"
    chosen: Storage = "int8" if stored_as == "auto" else stored_as
    size = f"{parameters:,} parameters make a page of about {parameters * BYTES[chosen] * TEXT_BYTES / 1e6:,.0f} MB"
    if parameters > MAX_INT8:
        raise ConfigurationError(
            f"explore: {size}, too large for a page; draw for the run in `lenext studio`, or explore a smaller network"
        )
    if stored_as == "auto":
        raise ConfigurationError(f"explore: {size} with int8 weights, which round its answers; give --stored-as int8")
    return chosen


def trace_network(opened: Opened) -> TracedNetwork:
    """Return a network's operations. Raises ConfigurationError where the page would be too much for a browser."""
    prepare = opened.description.preprocessing
    operations = trace(opened.network, prepare.input_shape)
    places = sum(
        math.prod(each.shape) * each.tensors["weight"][0].numel() // each.shape[0]
        for each in operations
        if each.kind == "convolution"
    )
    if places > MAX_PLACES:
        raise ConfigurationError(
            f"explore: images of {' x '.join(map(str, prepare.image_size))} px are too large for {opened.name} in a "
            "browser; train it with a smaller image_size"
        )
    return TracedNetwork(opened.name, opened.network, operations, prepare)


def check(network: TracedNetwork, samples: Samples) -> None:
    """Raise ConfigurationError where the operations give other answers than the network."""
    try:
        difference = largest_difference(network.operations, network.module, checked_images(network.prepare, samples))
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConfigurationError(f"explore: {network.name} cannot be computed: {error}; {INSTEAD}") from error
    if difference > TOLERANCE:
        raise ConfigurationError(
            f"explore: {network.name} gives other answers when it is traced, by {difference:.1e}; it may depend on "
            f"values of its input, draw at random, or change a tensor in place; {INSTEAD}"
        )


def checked_images(prepare: Preprocessing, samples: Samples) -> torch.Tensor:
    """Return inputs of a network (N, C, H, W): images of the page, and noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, prepare.channels, *prepare.stored_size), dtype=torch.uint8, generator=generator)
    return prepare(torch.cat([torch.from_numpy(samples.pixels[:CHECKED_IMAGES]), noise]))


def rounding(traced: Sequence[TracedNetwork], storage: Storage, samples: Samples) -> str:
    """Return how much rounded weights change the answers, in words; empty where they are exact."""
    if storage == "fp32":
        return ""
    largest = 0.0
    for network in traced:
        rounded = [with_stored_weights(each, storage) for each in network.operations]
        with torch.inference_mode():
            for image in checked_images(network.prepare, samples).split(1):
                exact, stored = (evaluate(each, image)[-1].softmax(1) for each in (network.operations, rounded))
                largest = max(largest, (stored - exact).abs().max().item())
    return f"weights are stored as {storage}: probabilities differ by at most {largest:.1e} on the images checked"


def with_stored_weights(operation: Operation, storage: Storage) -> Operation:
    """Return an operation with the weights that the page will have."""
    return replace(operation, tensors={role: as_stored(each, storage) for role, each in operation.tensors.items()})


def describe(opened: Opened) -> str:
    """Return a line about a network."""
    parameters = sum(weights.numel() for weights in opened.network.parameters())
    parts = [opened.description.network or type(opened.network).__name__, f"{parameters:,} parameters"]
    run = opened.run.run if opened.run else None
    if run is not None:
        parts.append(f"trained on {shown_source(run.experiment.data)}")
        test = (run.results.get("test") or {}).get("accuracy")
        if test is not None and opened.is_best:
            parts.append(f"test accuracy {test:.2%}")
    return "; ".join(parts)
