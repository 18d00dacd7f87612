"""`show` and `explain`: one image of one thing in data, in a network or in a run, as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lenext.data import load
from lenext.data.batches import load_batch
from lenext.data.dataset import Dataset, Split
from lenext.data.images import read_image
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.inspection import explain as explaining
from lenext.reporting import seeing
from lenext.reporting.figures import confusion_matrix
from lenext.reporting.overlays import overlay
from lenext.runs.folder import Run
from lenext.runs.predict import find_images
from lenext.runs.results import class_metrics
from lenext.runs.saved_predictions import SavedPredictions, read_predictions
from lenext.runs.weights import Description
from lenext.training.recipe import Recipe, key_value
from lenext.workflows import looks
from lenext.workflows.context import Context
from lenext.workflows.describe import network_named
from lenext.workflows.prepare import open_data
from lenext.workflows.use import open_weights


def data_grid(
    data: str | Path | Dataset,
    *,
    a_class: int = 8,
    recipe: Recipe | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Figure:
    """Images of each class in a row, and with a recipe the same ones augmented as training would have them."""
    whole = data if isinstance(data, Dataset) else load(data, data_dir=data_dir, offline=offline)
    return looks.class_grid(whole, a_class, recipe)


def channels(
    source: str | Path, *, sample: int | None = None, crop: Sequence[int] = (), size: int | None = None,
    channels: int = 3, data_dir: str | Path | None = None, offline: bool = False,
) -> Figure:  # fmt: skip
    """An image's channels before and after normalization. source: an image file, or data, of which the `sample`th.

    crop: top, left, height, width in pixels; of one of at most 16 px the values are written in (D4).
    size: pixels a side that a file is brought to; 224 where it is None. data_dir, offline: as for `load`.
    """
    path = Path(source)
    if not path.is_file() or path.suffix.lower() in (".csv", ".gz", ".pkl", ".pickle"):
        if size is not None:
            raise ConfigurationError(f"size={size}: data have a size of their own; leave it out")
        return looks.channels(load(source, data_dir=data_dir, offline=offline), sample or 0, crop)
    if sample is not None:
        raise ConfigurationError(f"sample={sample}: {path} is one image; leave it out")
    size = key_value("image_size", 224 if size is None else size)
    pixels = torch.from_numpy(read_image(path, channels, (size, size)).copy())
    values = pixels / 255
    mean, std = values.mean((1, 2), keepdim=True), values.std((1, 2), keepdim=True).clamp(min=1e-6)
    title = f"{path.name}, normalized by its own mean and deviation"
    return looks.cropped_channels(pixels, (values - mean) / std, crop, title)


def filtered(image: str | Path, run: str | Path | Run = "", *, size: int = 224, network: str = "") -> Figure:
    """An image through hand-made kernels, and through the first ones that a run has learned."""
    key_value("image_size", size)
    module = open_weights(run, "best", network)[0] if run else None
    return looks.filters(module, read_image(image, 1, (size, size)), Path(image).name)


def opened_image(path: str | Path, description: Description) -> tuple[Tensor, np.ndarray]:
    """An image as the network takes it, (1, C, H, W), and as pixels (C, H, W) of the same size."""
    prepare = description.preprocessing
    pixels = torch.from_numpy(read_image(path, prepare.channels, prepare.stored_size, prepare.stored_fit).copy())
    split = Split(pixels[None], torch.zeros(1, dtype=torch.int64), np.array([str(path)]))
    images, _ = load_batch(split, prepare, Compute.choose(*looks.CPU), slice(0, 1))
    return images, looks.resized(pixels.numpy(), prepare.image_size)


def explained(run: str | Path | Run, *paths: str | Path, network: str = "", layer: str = "") -> Figure:
    """What the answers for images (files, folders, globs) hang on: saliency, Grad-CAM, occlusion."""
    module, description = open_weights(run, "best", network)
    rows = []
    for path in find_images(paths)[:12]:
        images, shown = opened_image(path, description)
        with torch.no_grad():
            shares = module.eval()(images).float().softmax(1)
        label = shares.argmax(1)
        whole = np.repeat(shown, 3, axis=0) if shown.shape[0] == 1 else shown
        seen = {"image": whole.transpose(1, 2, 0)}
        for name, method in explaining.METHODS.items():
            more = {"layer": layer} if name == "Grad-CAM" and layer else {}
            seen[name] = overlay(shown, method(module, images, label, **more)[0].numpy())
        rows.append((f"{description.classes[int(label)]} ({float(shares.max()):.0%})", seen))
    return seeing.explained(rows, f"{description.network}: what its answers hang on")


def answers_of(run: str | Path | Run) -> tuple[Run, SavedPredictions]:
    """A run with its answers. Raises DataError where it has none yet."""
    run = run if isinstance(run, Run) else Run.open(run)
    classes = run.read_json("split.json").get("classes", ())
    found = read_predictions(run.path / "predictions.csv", classes)
    if found is None:
        raise DataError(f"{run.path}: there is no predictions.csv; the run has not read its test set")
    return run, found


def confusion(run: str | Path | Run, *, normalized: bool = False) -> Figure:
    """The confusion matrix of the test images, as counts or as per cent of the true class."""
    run, answers = answers_of(run)
    counts = answers.confusion()
    title = f"{run.path.name}: {answers.accuracy:.2%} of {len(answers):,} test images right"
    if normalized:
        share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return confusion_matrix(
            np.rint(share).astype(np.int64), answers.classes, f"{title}\nper cent of the true class"
        )
    return confusion_matrix(counts, answers.classes, title)


def by_class(run: str | Path | Run) -> Figure:
    """Precision, recall and F1 of each class."""
    run, answers = answers_of(run)
    return seeing.class_bars(class_metrics(answers, answers.classes), f"{run.path.name}: test images by class")


def reliability(run: str | Path | Run) -> Figure:
    """Whether it is as sure as it is right."""
    run, answers = answers_of(run)
    return seeing.reliability(answers.reliability(), answers.calibration_error, run.path.name)


def curves(*runs: str | Path | Run) -> Figure:
    """The curves of several runs over each other."""
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    return seeing.many_curves({run.path.name: run.records for run in opened}, "Runs side by side")


def kernels(run: str | Path | Run, *, network: str = "") -> Figure:
    """The filters of a run's first convolution."""
    module, description = open_weights(run, "best", network)
    return looks.kernels(module, description.network)


def features(run: str | Path | Run, image: str | Path, *, layer: str = "", network: str = "") -> Figure:
    """What the channels of a layer make of an image; by default those of the last map."""
    module, description = open_weights(run, "best", network)
    return looks.features(module, *opened_image(image, description), layer)


def embedding(
    run: str | Path | Run, *, method: Literal["pca", "tsne"] = "pca", network: str = "",
    data_dir: str | Path | None = None, offline: bool = False,
) -> Figure:  # fmt: skip
    """The test images as points, by what the network makes of them before its last layer."""
    run = run if isinstance(run, Run) else Run.open(run)
    module, description = open_weights(run, "best", network)
    data = open_data(run, Context(data_dir, offline))
    return looks.embedding(module, data.test or data.validation or data.train, description, run.path.name, method)


def receptive_fields(network: str, image: str | Path, *, image_size: int | None = None) -> Figure:
    """What the middle of each stage of a network sees of an image."""
    module, shape = network_named(network, {}, image_size, None, None)
    return looks.receptive_fields(module, read_image(image, 3, shape[1:]), shape, network)
