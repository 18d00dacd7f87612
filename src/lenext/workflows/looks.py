"""Figures of data and of networks that are open already: `show` draws one of them, a run's page several."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.data.augment import DRAWS_PER_IMAGE
from lenext.data.batches import batches
from lenext.data.dataset import Dataset, Split
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.seeds import generator
from lenext.inspection import explain
from lenext.inspection.summary import summarize
from lenext.models.pretrained import find_head
from lenext.reporting import seeing
from lenext.runs.weights import Description
from lenext.training.passes import augmentation
from lenext.training.recipe import Recipe

CPU = ("cpu", "fp32", "contiguous")  # what is shown of a network is the same everywhere
MOST_CLASSES = 20
MOST_POINTS = 3_000  # that t-SNE is given; it takes minutes for more


def class_grid(data: Dataset, a_class: int = 8, recipe: Recipe | None = None) -> Figure:
    """Training images of each class in a row, and with a recipe the same ones augmented as training has them."""
    if a_class < 1:
        raise ConfigurationError(f"a_class={a_class}: at least 1")
    split = data.train
    rows, after = [], []
    change = augmentation(data, recipe) if recipe else None
    blank = [255 * mean for mean in data.normalization.mean]
    shown = range(min(len(data.classes), MOST_CLASSES))
    for label in shown:
        pixels = split.images[(split.labels == label).nonzero()[:a_class, 0]]
        rows.append(pixels.numpy())
        if change:
            numbers = torch.rand(len(pixels), DRAWS_PER_IMAGE, generator=generator(recipe.seed if recipe else 0, label))
            after.append(change(pixels, numbers, blank).round().clamp(0, 255).to(torch.uint8).numpy())
    words = f"; augmentation: {change.describe()}" if change else ""
    return seeing.class_grid(
        rows, [data.classes[at] for at in shown], f"{data.name}: {len(split):,} images{words}", after
    )


def channels(data: Dataset, sample: int, crop: Sequence[int] = ()) -> Figure:
    """The channels of a training image before and after normalization. Raises DataError where there is none such."""
    if not 0 <= sample < len(data.train):
        raise DataError(f"{data.name}: there is no sample {sample}; there are {len(data.train):,}, counted from 0")
    pixels = data.train.images[torch.tensor([sample])][0]
    title = f"{data.name}, sample {sample}: {data.classes[int(data.train.labels[sample])]}"
    return cropped_channels(pixels, data.normalization(pixels[None])[0], crop, title)


def cropped_channels(pixels: Tensor, normalized: Tensor, crop: Sequence[int], title: str) -> Figure:
    """An image (C, H, W), or a crop of it (top, left, height, width), before and after normalization."""
    if crop:
        top, left, height, width = crop
        if min(crop) < 0 or top + height > pixels.shape[1] or left + width > pixels.shape[2] or not height * width:
            raise ConfigurationError(
                f"crop={','.join(map(str, crop))}: outside of {pixels.shape[1]} x {pixels.shape[2]}"
            )
        pixels, normalized = (one[:, top : top + height, left : left + width] for one in (pixels, normalized))
    return seeing.channels(pixels.numpy(), normalized.numpy(), title)


def kernels(module: nn.Module, name: str) -> Figure:
    """The filters of the first convolution."""
    weights = first_weights(module)
    number, depth, height, width = weights.shape
    return seeing.kernels(weights, f"{name}: {number} filters of {depth} x {height} x {width} in the first convolution")


def filters(module: nn.Module | None, pixels: np.ndarray, name: str) -> Figure:
    """An image (C, H, W), in grey, through hand-made kernels, and through the first that a network has learned."""
    learned = np.zeros((0, 3, 3)) if module is None else first_weights(module).mean(1)
    return seeing.filters(pixels.mean(0).astype(np.float64), learned, name)


def first_weights(module: nn.Module) -> np.ndarray:
    """The weights (N, C, h, w) of the first convolution."""
    found = next((one for one in module.modules() if isinstance(one, nn.Conv2d)), None)
    if found is None:
        raise ConfigurationError(f"{type(module).__name__} has no convolution")
    return found.weight.detach().float().cpu().numpy()


def features(module: nn.Module, images: Tensor, shown: np.ndarray, layer: str = "") -> Figure:
    """What the channels of a layer make of an image, images (1, C, H, W), shown as pixels (C, H, W); by default
    those of the last map."""
    layer = layer or explain.last_map_layer(module, images)
    maps = explain.feature_maps(module, images, [layer]).get(layer)
    if maps is None or maps.ndim != 4:
        known = ", ".join(explain.map_layers(module, images))
        raise ConfigurationError(f"{layer}: gives no maps; those that do: {known}")
    _, number, height, width = maps.shape
    return seeing.feature_maps(shown, maps[0].numpy(), f"{layer}: {number} maps of {height} x {width}")


def embedding(
    module: nn.Module, split: Split, description: Description, name: str, method: Literal["pca", "tsne"] = "pca"
) -> Figure:
    """Images as points, by what the network makes of them before its last layer; t-SNE is given 3,000 of them."""
    if method == "tsne" and len(split) > MOST_POINTS:
        split = some_of(split, MOST_POINTS)
    vectors = penultimate(module, split, description)
    points = projected(vectors, method)
    words = f"{len(split):,} images by {vectors.shape[1]} features ({ {'pca': 'PCA', 'tsne': 't-SNE'}[method] })"
    return seeing.embedding(points, split.labels.numpy(), description.classes, f"{name}: {words}")


def some_of(split: Split, number: int) -> Split:
    """So many of a split's images, drawn with a seed, in their order."""
    if len(split) <= number:
        return split
    return split.take(torch.randperm(len(split), generator=generator(0))[:number].sort().values)


def penultimate(module: nn.Module, split: Split, description: Description) -> np.ndarray:
    """What goes into the last layer, (N, features), batch by batch."""
    head = dict(module.named_modules())[find_head(module)]
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


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (C, H, W) at another size, height and width."""
    whole = F.interpolate(torch.from_numpy(pixels)[None].float(), size=size, mode="bilinear", antialias=True)
    return whole[0].round().clamp(0, 255).to(torch.uint8).numpy()


def receptive_fields(module: nn.Module, pixels: np.ndarray, shape: tuple[int, int, int], name: str) -> Figure:
    """What the middle of each stage of a network sees of an image (C, H, W) of the size of its input."""
    fields: dict[str, tuple[int, int]] = {}
    for layer in summarize(module, shape, name).stages():
        known = [field for field, _ in fields.values()]
        if len(layer.output_shape) == 3 and layer.receptive_field not in known:
            fields[layer.name] = (layer.receptive_field, layer.stride)
    if not fields:
        raise ConfigurationError(f"{name}: none of its layers sees places of an image")
    return seeing.receptive_fields(pixels, fields, f"{name} at {shape[1]} x {shape[2]} px")
