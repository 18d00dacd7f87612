"""`val`: a run's weights measured on its own splits, or on other data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lenext.acceleration.placement import place_network
from lenext.data import load
from lenext.data.dataset import Dataset, Split, match_classes
from lenext.exporting.engines import Engine, EngineNetwork, open_engine
from lenext.exporting.formats import open_exported
from lenext.exporting.predicting import evaluate_exported
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError, RunError
from lenext.foundation.files import expand_path
from lenext.foundation.intervals import format_interval
from lenext.foundation.settings import OnBadImage, convert
from lenext.reporting.console import Console
from lenext.runs.folder import Run
from lenext.runs.layout import is_exported
from lenext.runs.results import class_metrics, split_metrics
from lenext.runs.weights import Description
from lenext.training.evaluation import Evaluation, evaluate_split
from lenext.training.settings import resolve_tta
from lenext.workflows.context import Context
from lenext.workflows.open_weights import StoredWeights, open_weights, refuse_for_exported
from lenext.workflows.prepare import check_unchanged, context_of, load_data
from lenext.workflows.results import TTA_VIEWS, print_class_table

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Measured:
    """The samples that are measured, the dataset that they are of, and their title."""

    split: Split
    dataset: Dataset
    title: str


def val(
    run: str | Path | Run,
    *,
    split: SplitName | None = None,
    data: str | Dataset = "",
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    precision: str = "auto",
    engine: Engine | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure a run's weights, or an exported file.

    Args:
        run: A run or its folder; or an exported file, with `data`.
        split: Of the run's data; None for validation. Reading the test set is counted in results.json.
        data: Other data instead; their classes are matched by name.
        weights: Which weights; None for the best.
        network: The user's own network, when the run is of one.
        data_dir: Where published data are; None for the run's own folder.
        offline: Whether the network must not be used.
        device: Where to compute; `auto` for the recipe's.
        precision: Of the arithmetic; `auto` for the recipe's.
        engine: What computes: torch, onnxruntime, openvino; auto takes the fastest by what was measured.
        quiet: Whether nothing is printed.

    Raises:
        LenextError: The run or the data cannot be opened, or do not fit together.
    """
    if split and data:
        raise ConfigurationError(f"split={split}: it is of the run's own data; leave it out, or the other data")
    convert("engine", engine, Engine | None)
    if engine not in (None, "torch") and precision != "auto":
        raise ConfigurationError(f"precision={precision}: engine={engine} has its own; leave one of them out")
    if isinstance(run, str | Path) and is_exported(run):
        options = {"split": split, "weights": weights, "network": network, "device": device, "precision": precision}
        refuse_for_exported(run, options)
        return val_exported(expand_path(run), data, engine, Context(data_dir, offline), quiet)
    run = Run.open(run)
    module, description = open_weights(run, weights, network)
    context, recipe = context_of(run, Context(data_dir, offline)), run.experiment.recipe
    split = split or "validation"
    if data:
        experiment = run.experiment
        measured = open_data_for(data, description, context, experiment.label_column, experiment.on_bad_image)
    else:
        measured = open_split(run, split, context)
    check_shape(measured, description)
    if engine not in (None, "torch"):
        module = open_engine(
            module, description.preprocessing, engine, many=True, device=recipe.device if device == "auto" else device
        )
    chosen = str(module.choice) if isinstance(module, EngineNetwork) else ""
    compute = Compute.choose("cpu", "fp32") if chosen else Compute.choose(
        recipe.device if device == "auto" else device,
        recipe.precision if precision == "auto" else precision,
        recipe.memory_format,
    )  # fmt: skip
    place_network(module, compute)
    tta = resolve_tta(recipe, measured.dataset)
    evaluation = evaluate_split(module, measured.split, description.preprocessing, compute, tta)
    with Console(quiet) as console:
        title = f"{run.path.name}: {measured.title} by class{TTA_VIEWS[tta]}"
        print_evaluation(console, evaluation, description, title)
        if engine:
            console.print(f"engine: {chosen or f'torch, {compute.precision}'}")
        if split == "test" and not data:
            count_test_reading(console, run)
    return evaluation


def val_exported(path: Path, data: str | Dataset, engine: Engine | None, context: Context, quiet: bool) -> Evaluation:
    """Measure an exported file on data, whose classes are matched by name."""
    if not data:
        raise ConfigurationError(f"{path}: an exported file has no data; give --data")
    session, facts, choice = open_exported(path, engine)
    measured = open_data_for(data, facts.description, context)
    check_shape(measured, facts.description)
    evaluation = evaluate_exported(session, facts, measured.split)
    with Console(quiet) as console:
        print_evaluation(console, evaluation, facts.description, f"{path.name}: {measured.title} by class")
        console.print(f"engine: {choice}")
    return evaluation


def open_data_for(
    data: str | Dataset,
    description: Description,
    context: Context,
    label_column: str = "auto",
    on_bad_image: OnBadImage = "stop",
) -> Measured:
    """Open data: their test set, or all of them; classes are matched by name."""
    images = description.preprocessing
    dataset = data if isinstance(data, Dataset) else load(
        data, data_dir=context.data_dir, offline=context.offline, image_size=images.stored_size, fit=images.stored_fit,
        label_column=label_column, on_bad_image=on_bad_image, channels=images.channels,
    )  # fmt: skip
    split = dataset.test or dataset.train
    labels = match_classes(split.labels, dataset.classes, description.classes, dataset.name)
    return Measured(Split(split.images, labels, split.ids), dataset, dataset.name)


def open_split(run: Run, name: SplitName, context: Context) -> Measured:
    """Open a split of a run's own data."""
    dataset = load_data(run.experiment, context)
    return Measured(split_of_run(run, dataset, name), dataset, f"{name} images")


def check_shape(measured: Measured, description: Description) -> None:
    """Check that images have the size and channels that the run was trained on."""
    expected = (description.preprocessing.channels, *description.preprocessing.stored_size)
    shape = tuple(measured.split.images.shape[1:])
    if shape != expected:
        raise DataError(
            f"{measured.title}: images of {' x '.join(map(str, shape))}, but the run was trained on "
            f"{' x '.join(map(str, expected))}"
        )


def print_evaluation(console: Console, evaluation: Evaluation, description: Description, title: str) -> None:
    """Print the metrics by class and in all."""
    print_class_table(console, class_metrics(evaluation, description.classes), title)
    metrics = split_metrics(evaluation, description.classes)
    top5 = f", top-5 {metrics['top5_accuracy']:.2%}" if "top5_accuracy" in metrics else ""
    console.print(
        f"\naccuracy {evaluation.accuracy:.2%} ({format_interval(evaluation.accuracy, len(evaluation.labels))}){top5}, "
        f"loss {evaluation.loss:.4f} on {len(evaluation.labels):,} images"
    )


def count_test_reading(console: Console, run: Run) -> None:
    """Count a further reading of a run's test set, and print the number."""
    reads = int(run.results.get("test_reads", 0)) + 1
    run.write_json("results.json", run.results | {"test_reads": reads})
    console.print(f"the test set of this run was read {reads} times; selecting by it makes its figures too good")


def split_of_run(run: Run, data: Dataset, name: SplitName) -> Split:
    """Return a run's own split: by the ids in split.json, or the source's own.

    Raises:
        RunError: The run was trained without it.
        DataError: Its samples have changed.
    """
    held_out: dict[str, Sequence[Any]] = run.read_json("split.json").get("taken_out_of_train", {})
    splits = data.splits()
    if name in held_out:
        split = data.train.take(data.train.find(held_out[name]))
    elif name == "train":
        ids = {sample for samples in held_out.values() for sample in samples}
        rows = [row for row, sample in enumerate(data.train.ids.tolist()) if sample not in ids]
        split = data.train.take(torch.tensor(rows, dtype=torch.int64))
    elif name in splits:
        split = splits[name]
    else:
        raise RunError(f"{run.path}: it was trained without a {name} split; give another --split, or --data")
    check_unchanged(run, name, split, data)
    return split
