"""`show` and `explain`: one picture of one thing in data, in a network or in a run, as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.data import load
from lenext.data.augment import DRAWS
from lenext.data.batches import batches, plain_batch
from lenext.data.dataset import Dataset, Split
from lenext.data.pictures import Size, read_picture
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.seeds import generator
from lenext.inspection import explain as explaining
from lenext.inspection.summary import summarize
from lenext.models.pretrained import head_of
from lenext.reporting import seeing
from lenext.reporting.figures import confusion_matrix
from lenext.reporting.overlays import overlay
from lenext.runs.answers import Answers, read_answers
from lenext.runs.folder import Run
from lenext.runs.predict import find_pictures
from lenext.runs.results import class_figures
from lenext.runs.weights import Description
from lenext.training.loop import divided
from lenext.training.passes import augmentation
from lenext.training.recipe import Recipe
from lenext.workflows.describe import network_named
from lenext.workflows.prepare import load_data
from lenext.workflows.use import open_weights

CPU = ("cpu", "fp32", "contiguous")  # explanations are the same everywhere
MOST_POINTS = 3_000  # that t-SNE is given; it takes minutes for more


def data_grid(
    data: str | Path | Dataset,
    *,
    a_class: int = 8,
    recipe: Recipe | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Figure:
    """Pictures of each class in a row, and with a recipe the same ones augmented as training would have them."""
    whole = data if isinstance(data, Dataset) else load(data, data_dir=data_dir, offline=offline)
    split = whole.train
    rows, after = [], []
    change = augmentation(whole, recipe) if recipe else None
    blank = [255 * mean for mean in whole.normalization.mean]
    shown = range(min(len(whole.classes), 20))
    for label in shown:
        pixels = split.images[(split.labels == label).nonzero()[:a_class, 0]]
        rows.append(pixels.numpy())
        if change:
            numbers = torch.rand(len(pixels), DRAWS, generator=generator(recipe.seed if recipe else 0, label))
            after.append(change(pixels, numbers, blank).round().clamp(0, 255).to(torch.uint8).numpy())
    words = f"; augmentation: {change.describe()}" if change else ""
    return seeing.class_grid(
        rows, [whole.classes[at] for at in shown], f"{whole.name}: {len(split):,} pictures{words}", after
    )


def channels(
    source: str | Path, *, sample: int = 0, crop: Sequence[int] = (), size: int = 224, channels: int = 3
) -> Figure:
    """A picture's channels before and after normalization. source: a picture file, or data, of which the `sample`th.

    crop: top, left, height, width in pixels; of one of at most 16 px the values are written in (D4).
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() not in (".csv", ".gz", ".pkl", ".pickle"):
        pixels = torch.from_numpy(read_picture(path, channels, (size, size)).copy())
        values = pixels / 255
        mean, std = values.mean((1, 2), keepdim=True), values.std((1, 2), keepdim=True).clamp(min=1e-6)
        normalized, title = (values - mean) / std, f"{path.name}, normalized by its own mean and deviation"
    else:
        data = load(source)
        if not 0 <= sample < len(data.train):
            raise DataError(f"{data.name}: there is no sample {sample}; there are {len(data.train):,}, counted from 0")
        pixels = data.train.images[torch.tensor([sample])][0]
        normalized = data.normalization(pixels[None])[0]
        title = f"{data.name}, sample {sample}: {data.classes[int(data.train.labels[sample])]}"
    if crop:
        top, left, height, width = crop
        if min(crop) < 0 or top + height > pixels.shape[1] or left + width > pixels.shape[2] or not height * width:
            raise ConfigurationError(
                f"crop={','.join(map(str, crop))}: outside of {pixels.shape[1]} x {pixels.shape[2]}"
            )
        pixels, normalized = (one[:, top : top + height, left : left + width] for one in (pixels, normalized))
    return seeing.channels(pixels.numpy(), normalized.numpy(), title)


def filtered(picture: str | Path, run: str | Path | Run = "", *, size: int = 224, network: str = "") -> Figure:
    """A picture through hand-made kernels, and through the first ones that a run has learned."""
    grey = read_picture(picture, 1, (size, size))[0].astype(np.float64)
    learned = np.zeros((0, 3, 3))
    if run:
        module, _ = open_weights(run, "best", network)
        learned = first_weights(module).mean(1)
    return seeing.filters(grey, learned, Path(picture).name)


def kernels(run: str | Path | Run, *, network: str = "") -> Figure:
    """The filters of a run's first convolution."""
    module, description = open_weights(run, "best", network)
    weights = first_weights(module)
    number, depth, height, width = weights.shape
    title = f"{description.network}: {number} filters of {depth} x {height} x {width} in the first convolution"
    return seeing.kernels(weights, title)


def first_weights(module: nn.Module) -> np.ndarray:
    """The weights (N, C, h, w) of the first convolution."""
    found = next((one for one in module.modules() if isinstance(one, nn.Conv2d)), None)
    if found is None:
        raise ConfigurationError(f"{type(module).__name__} has no convolution")
    return found.weight.detach().float().cpu().numpy()


def opened_picture(path: str | Path, description: Description) -> tuple[Tensor, np.ndarray]:
    """A picture as the network takes it, (1, C, H, W), and as pixels (C, H, W) of the same size."""
    prepare = description.preprocessing
    pixels = torch.from_numpy(read_picture(path, prepare.channels, prepare.stored_size, prepare.stored_fit).copy())
    split = Split(pixels[None], torch.zeros(1, dtype=torch.int64), np.array([str(path)]))
    images, _ = plain_batch(split, prepare, Compute.choose(*CPU), slice(0, 1))
    size: Size = prepare.image_size
    shown = F.interpolate(pixels[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return images, shown.round().clamp(0, 255).to(torch.uint8).numpy()


def features(run: str | Path | Run, picture: str | Path, *, layer: str = "", network: str = "") -> Figure:
    """What the channels of a layer make of a picture; by default those of the last map."""
    module, description = open_weights(run, "best", network)
    images, shown = opened_picture(picture, description)
    layer = layer or explaining.last_map(module, images)
    maps = explaining.feature_maps(module, images, [layer]).get(layer)
    if maps is None or maps.ndim != 4:
        known = ", ".join(explaining.map_layers(module, images))
        raise ConfigurationError(f"{layer}: gives no maps; those that do: {known}")
    _, number, height, width = maps.shape
    return seeing.feature_maps(shown, maps[0].numpy(), f"{layer}: {number} maps of {height} x {width}")


def explained(run: str | Path | Run, *pictures: str | Path, network: str = "", layer: str = "") -> Figure:
    """What the answers for pictures (files, folders, globs) hang on: saliency, Grad-CAM, occlusion."""
    module, description = open_weights(run, "best", network)
    rows = []
    for path in find_pictures(pictures)[:12]:
        images, shown = opened_picture(path, description)
        with torch.no_grad():
            shares = module.eval()(images).float().softmax(1)
        label = shares.argmax(1)
        whole = np.repeat(shown, 3, axis=0) if shown.shape[0] == 1 else shown
        looks = {"picture": whole.transpose(1, 2, 0)}
        for name, method in explaining.METHODS.items():
            more = {"layer": layer} if name == "Grad-CAM" and layer else {}
            looks[name] = overlay(shown, method(module, images, label, **more)[0].numpy())
        rows.append((f"{description.classes[int(label)]} ({float(shares.max()):.0%})", looks))
    return seeing.explained(rows, f"{description.network}: what its answers hang on")


def answers_of(run: str | Path | Run) -> tuple[Run, Answers]:
    """A run with its answers. Raises DataError where it has none yet."""
    run = run if isinstance(run, Run) else Run.open(run)
    classes = run.read_json("split.json").get("classes", ())
    found = read_answers(run.path / "predictions.csv", classes)
    if found is None:
        raise DataError(f"{run.path}: there is no predictions.csv; the run has not read its test set")
    return run, found


def confusion(run: str | Path | Run, *, normalized: bool = False) -> Figure:
    """The confusion matrix of the test pictures, as counts or as per cent of the true class."""
    run, answers = answers_of(run)
    counts = answers.confusion()
    title = f"{run.path.name}: {answers.accuracy:.2%} of {len(answers):,} test pictures right"
    if normalized:
        share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return confusion_matrix(
            np.rint(share).astype(np.int64), answers.classes, f"{title}\nper cent of the true class"
        )
    return confusion_matrix(counts, answers.classes, title)


def by_class(run: str | Path | Run) -> Figure:
    """Precision, recall and F1 of each class."""
    run, answers = answers_of(run)
    return seeing.class_bars(class_figures(answers, answers.classes), f"{run.path.name}: test pictures by class")


def reliability(run: str | Path | Run) -> Figure:
    """Whether it is as sure as it is right."""
    run, answers = answers_of(run)
    return seeing.reliability(answers.reliability(), answers.calibration_error, run.path.name)


def curves(*runs: str | Path | Run) -> Figure:
    """The curves of several runs over each other."""
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    return seeing.many_curves({run.path.name: run.records for run in opened}, "Runs side by side")


def embedding(
    run: str | Path | Run, *, method: Literal["pca", "tsne"] = "pca", network: str = "",
    data_dir: str | Path | None = None, offline: bool = False,
) -> Figure:  # fmt: skip
    """The test pictures as points, by what the network makes of them before its last layer."""
    run = run if isinstance(run, Run) else Run.open(run)
    module, description = open_weights(run, "best", network)
    data = divided(load_data(run.experiment, data_dir or run.read_json("environment.json").get("data_dir"), offline),
                   run.experiment.recipe)  # fmt: skip
    split = data.test or data.validation or data.train
    if method == "tsne" and len(split) > MOST_POINTS:
        split = split.take(torch.randperm(len(split), generator=generator(0))[:MOST_POINTS].sort().values)
    vectors = penultimate(module, split, description)
    points = projected(vectors, method)
    words = f"{len(split):,} pictures by {vectors.shape[1]} features ({ {'pca': 'PCA', 'tsne': 't-SNE'}[method] })"
    return seeing.embedding(points, split.labels.numpy(), description.classes, f"{run.path.name}: {words}")


def penultimate(module: nn.Module, split: Split, description: Description) -> np.ndarray:
    """What goes into the last layer, (N, features), batch by batch."""
    head = dict(module.named_modules())[head_of(module)]
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].float()
        seen.append((value.mean((2, 3)) if value.ndim == 4 else value.flatten(1)).cpu())

    hook = head.register_forward_pre_hook(keep)
    try:
        with torch.inference_mode():
            for images, _ in batches(split, description.preprocessing, Compute.choose(*CPU), 64):
                module.eval()(images)
    finally:
        hook.remove()
    return torch.cat(seen).numpy()


def projected(vectors: np.ndarray, method: Literal["pca", "tsne"]) -> np.ndarray:
    """(N, features) to (N, 2)."""
    if method == "pca":
        from sklearn.decomposition import PCA

        return np.asarray(PCA(2, random_state=0).fit_transform(vectors))
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(2, random_state=0, init="pca", perplexity=min(30, len(vectors) // 4)).fit_transform(vectors))


def receptive_fields(network: str, picture: str | Path, *, image_size: int | None = None) -> Figure:
    """What the middle of each stage of a network sees of a picture."""
    module, shape = network_named(network, {}, image_size, None, None)
    pixels = read_picture(picture, 3, shape[1:])
    fields: dict[str, tuple[int, int]] = {}
    for layer in summarize(module, shape, network).stages():
        known = [field for field, _ in fields.values()]
        if len(layer.output_shape) == 3 and layer.receptive_field not in known:
            fields[layer.name] = (layer.receptive_field, layer.stride)
    return seeing.receptive_fields(pixels, fields, f"{network} at {shape[1]} x {shape[2]} px")
