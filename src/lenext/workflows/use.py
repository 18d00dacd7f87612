"""`val` and `predict`: what trained weights do, on the run's own splits, on other data, on a person's images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lenext.acceleration.placement import place_network
from lenext.data import load
from lenext.data.dataset import Dataset, Split, match_classes
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError, RunError
from lenext.foundation.files import expand_path
from lenext.foundation.settings import OnBadImage
from lenext.models import MODELS, create, find_pretrained_variant
from lenext.models.pretrained import IMAGENET_PIXELS, imagenet_classes
from lenext.reporting.console import Console
from lenext.runs import weights
from lenext.runs.folder import Run
from lenext.runs.predict import Prediction, find_images, predict_images
from lenext.runs.results import class_metrics, split_metrics
from lenext.runs.weights import Description
from lenext.training.evaluation import Evaluation, evaluate_split
from lenext.training.settings import resolve_tta
from lenext.workflows.context import Context
from lenext.workflows.prepare import check_unchanged, context_of, load_data
from lenext.workflows.results import TTA_VIEWS, print_class_table

Which = Literal["best", "last"]


def open_weights(
    model: str | Path | Run, which: Which | None = None, network: nn.Module | str = ""
) -> tuple[nn.Module, Description]:
    """The network of a run's folder or of a weights file, with its weights, and what it was trained for.

    which: of a run's weights; the best where it is None.
    """
    if isinstance(model, str | Path) and str(model) in MODELS and not expand_path(model).exists():
        raise RunError(f"{model} is a network, not a run; with --pretrained its published weights answer")
    path = model.path if isinstance(model, Run) else expand_path(model)
    if path.is_dir():
        path = Run.open(path).weights(which or "best")
        if not path.is_file():
            raise RunError(f"{path}: there are no {which or 'best'} weights yet; the run did not get that far")
    elif not path.exists():
        raise RunError(f"{path}: there is no such run or weights file; `lenext list runs` shows the runs there are")
    elif which:
        raise ConfigurationError(f"weights={which}: {path} is one file of weights already; leave it out")
    tensors, description = weights.load(path)
    return weights.restore_network(tensors, description, path, network), description


def open_published(name: str, data_dir: str | Path | None, offline: bool) -> tuple[nn.Module, Description]:
    """A network by name with its published weights, for ImageNet's classes."""
    variant = find_pretrained_variant(name)
    module = create(name, pretrained=True, data_dir=data_dir, offline=offline)
    stored_size, image_size = (variant.shorter_side,) * 2, (IMAGENET_PIXELS,) * 2
    prepare = Preprocessing(3, stored_size, "crop", image_size, "crop", variant.normalization)
    return module, Description(name, {}, imagenet_classes(), prepare)


def val(
    run: str | Path | Run,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    data: str | Dataset = "",
    which: Which | None = None,
    network: nn.Module | str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    device: str = "auto",
    precision: str = "auto",
    quiet: bool = False,
) -> Evaluation:
    """Measure a run's weights on its validation images; on another split, or on other data, if asked.

    Reading the test set again is counted in results.json. Other data are matched by the names of their classes.
    """
    if split and data:
        raise ConfigurationError(f"split={split}: it is of the run's own data; leave it out, or the other data")
    split = split or "validation"
    run = run if isinstance(run, Run) else Run.open(run)
    module, description = open_weights(run, which, network)
    experiment, results = run.experiment, run.results
    prepare = description.preprocessing
    if data:
        whole = data if isinstance(data, Dataset) else load(
            data, data_dir=data_dir or run.environment.get("data_dir"), offline=offline,
            image_size=prepare.stored_size, fit=prepare.stored_fit,
            label_column=experiment.label_column, on_bad_image=experiment.on_bad_image, channels=prepare.channels,
        )  # fmt: skip
        part = whole.test or whole.train
        labels = match_classes(part.labels, whole.classes, description.classes, whole.name)
        chosen, title = Split(part.images, labels, part.ids), whole.name
    else:
        whole = load_data(experiment, context_of(run, Context(data_dir, offline)))
        chosen, title = split_of(run, whole, split), f"{split} images"
    shape = (description.preprocessing.channels, *description.preprocessing.stored_size)
    if tuple(chosen.images.shape[1:]) != shape:
        found = " x ".join(map(str, chosen.images.shape[1:]))
        raise DataError(f"{title}: images of {found}, but the run was trained on {' x '.join(map(str, shape))}")
    recipe = experiment.recipe
    compute = Compute.choose(
        recipe.device if device == "auto" else device,
        recipe.precision if precision == "auto" else precision,
        recipe.memory_format,
    )
    place_network(module, compute)
    views = resolve_tta(recipe, whole)
    seen = evaluate_split(module, chosen, description.preprocessing, compute, views)
    title = f"{run.path.name}: {title} by class{TTA_VIEWS[views]}"
    with Console(quiet) as console:
        print_class_table(console, class_metrics(seen, description.classes), title)
        figures = split_metrics(seen, description.classes)
        top5 = f", top-5 {figures['top5_accuracy']:.2%}" if "top5_accuracy" in figures else ""
        console.print(f"\naccuracy {seen.accuracy:.2%}{top5}, loss {seen.loss:.4f} on {len(seen.labels):,} images")
        if split == "test" and not data:
            reads = int(results.get("test_reads", 0)) + 1
            run.write_json("results.json", results | {"test_reads": reads})
            console.print(f"the test set of this run was read {reads} times; choosing by it spoils it as a test")
    return seen


def split_of(run: Run, data: Dataset, name: str) -> Split:
    """The run's own split: by the ids that split.json keeps, or the source's own. Raises RunError or DataError."""
    kept: dict[str, Sequence[Any]] = run.read_json("split.json").get("taken_out_of_train", {})
    splits = data.splits()
    if name in kept:
        split = data.train.take(data.train.find(kept[name]))
    elif name == "train":
        gone = {sample for ids in kept.values() for sample in ids}
        rows = [row for row, sample in enumerate(data.train.ids.tolist()) if sample not in gone]
        split = data.train.take(torch.tensor(rows, dtype=torch.int64))
    elif name in splits:
        split = splits[name]
    else:
        raise RunError(f"{run.path}: it was trained without a {name} split; give another --split, or --data")
    check_unchanged(run, name, split, data)
    return split


def predict(
    model: str | Path | Run,
    *images: str | Path,
    top: int = 1,
    which: Which | None = None,
    network: nn.Module | str = "",
    pretrained: bool = False,
    on_bad_image: OnBadImage = "stop",
    device: str = "auto",
    precision: str = "auto",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> list[Prediction | DataError]:
    """The most probable classes of images: files, folders or globs, by a run's folder or a weights file; or, with
    `pretrained`, by a network's name and its published weights.

    With on_bad_image=skip, an image that cannot be read has its DataError in the list.
    """
    if top < 1:
        raise ConfigurationError(f"top={top}: it must be at least 1")
    if pretrained:
        for key, value in (("weights", which), ("network", network)):
            if value:
                raise ConfigurationError(f"{key}={value}: {model} with --pretrained has one network; leave it out")
        module, description = open_published(str(model), data_dir, offline)
    else:
        module, description = open_weights(model, which, network)
    found = find_images(images)
    compute = Compute.choose(device, precision)
    return list(
        predict_images(
            module, description.preprocessing, description.classes, found,
            top=top, compute=compute, on_bad_image=on_bad_image,
        )
    )  # fmt: skip
