"""Figures of networks: kernels, filtered images, feature maps, explanations, embeddings and receptive fields."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from lenext.data.images import read_image
from lenext.data.splitting import draw_samples
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.inspection.explain import METHODS, feature_maps, last_map_layer, map_layers
from lenext.inspection.features import head_features
from lenext.inspection.summary import summarize
from lenext.reporting.figures.embedding import class_scatter
from lenext.reporting.figures.explanations import explanation_grid, overlay_heat, receptive_fields
from lenext.reporting.figures.filters import feature_map_grid, filtered_images, kernel_grid
from lenext.runs.folder import Run
from lenext.runs.predict import find_images
from lenext.training.recipe import key_value
from lenext.workflows.networks import build_for_inspection
from lenext.workflows.opened_run import OpenedRun, open_run
from lenext.workflows.show.inputs import FILE_SIZE, AnyRun, Image, as_pixels, load_image, resize_pixels
from lenext.workflows.show.projection import (
    MAX_TSNE_SAMPLES,
    METHOD_NAMES,
    Method,
    project,
)

MAX_EXPLAINED = 12  # images
FIGURE_COMPUTE = ("cpu", "fp32", "contiguous")  # so that a figure is the same on every machine


def kernels(run: AnyRun, *, network: nn.Module | str = "") -> Figure:
    """Draw the kernels of a run's first convolution, each scaled to its own range.

    Args:
        run: A run, or its folder.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.

    Raises:
        ConfigurationError: The network has no convolution.
        RunError: The run cannot be opened.
    """
    opened = open_run(run, network)
    weights = first_kernels(opened.module)
    number, depth, height, width = weights.shape
    shape = f"{number} filters of {depth} x {height} x {width}"
    return kernel_grid(weights, f"{opened.description.network}: {shape} in the first convolution")


def filters(
    image: Image, run: AnyRun | None = None, *, size: int | None = None, network: nn.Module | str = ""
) -> Figure:
    """Draw an image in grey, filtered by edge, blur and sharpen kernels, and by the first kernels of a run.

    Args:
        image: An image file, or pixels (C, H, W) from 0 to 255.
        run: A run, whose first convolution gives the learned kernels, averaged over their channels.
        size: The pixels a side to which an image file is resized; None for 224.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.

    Raises:
        ConfigurationError: The run's network has no convolution, or the size is not allowed or not for this image.
        DataError: The image cannot be read.
        RunError: The run cannot be opened.
    """
    side = key_value("image_size", FILE_SIZE if size is None else size)
    learned = first_kernels(open_run(run, network).module).mean(1) if run else np.zeros((0, 3, 3))
    if isinstance(image, str | Path):
        pixels, title = read_image(image, 1, (side, side)), Path(image).name
    elif size is None:
        pixels, title = as_pixels(image), "an image"
    else:
        raise ConfigurationError(f"size={size}: pixels have a size of their own; leave it out")
    return filtered_images(pixels.mean(0).astype(np.float64), learned, title)


def first_kernels(module: nn.Module) -> NDArray[np.float32]:
    """Return the weights (N, C, h, w) of a network's first convolution. Raises ConfigurationError."""
    convolution = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if convolution is None:
        raise ConfigurationError(f"{type(module).__name__} has no convolution")
    return convolution.weight.detach().float().cpu().numpy()


def features(run: AnyRun, image: Image, *, layer: str = "", network: nn.Module | str = "") -> Figure:
    """Draw the feature maps that a layer of a run's network computes from an image.

    Args:
        run: A run, or its folder.
        image: An image file, or pixels (C, H, W) from 0 to 255 as the run's data store them.
        layer: A layer's name, as in `lenext summary`; empty for the last layer that gives maps.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.

    Raises:
        ConfigurationError: There is no such layer, or it gives no maps.
        DataError: The image cannot be read.
        RunError: The run cannot be opened.
    """
    opened = open_run(run, network)
    images, pixels = load_image(image, opened.description)
    layer = layer or last_map_layer(opened.module, images)
    maps = feature_maps(opened.module, images, [layer]).get(layer)
    if maps is None or maps.ndim != 4:
        names = ", ".join(map_layers(opened.module, images))
        raise ConfigurationError(f"{layer}: gives no maps; those that do: {names}")
    _, number, height, width = maps.shape
    return feature_map_grid(pixels, maps[0].numpy(), f"{layer}: {number} maps of {height} x {width}")


def explain(run: AnyRun, *images: str | Path, layer: str = "", network: nn.Module | str = "") -> Figure:
    """Draw which parts of up to 12 images a run's predictions depend on: saliency, Grad-CAM, occlusion.

    Args:
        run: A run, or its folder.
        images: Image files, folders or globs.
        layer: The layer that Grad-CAM uses; empty for the last layer that gives maps.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.

    Raises:
        ConfigurationError: There is no such layer, or the network gives no maps.
        DataError: An image cannot be read.
        RunError: The run cannot be opened.
    """
    opened = open_run(run, network)
    module, description = opened.weights
    rows = []
    for path in find_images(images)[:MAX_EXPLAINED]:
        inputs, pixels = load_image(path, description)
        with torch.no_grad():
            probabilities = module.eval()(inputs).float().softmax(1)
        label = probabilities.argmax(1)
        color = np.repeat(pixels, 3, axis=0) if pixels.shape[0] == 1 else pixels
        overlays = explanation_overlays(module, inputs, label, pixels, layer)
        caption = f"{description.classes[int(label)]} ({float(probabilities.max()):.0%})"
        rows.append((caption, {"image": color.transpose(1, 2, 0)} | overlays))
    return explanation_grid(rows, f"{description.network}: which parts of an image its predictions depend on")


def explanation_overlays(
    module: nn.Module, images: Tensor, labels: Tensor, pixels: NDArray[np.uint8], layer: str = ""
) -> dict[str, NDArray[np.uint8]]:
    """Explain the prediction for one image.

    Args:
        module: The network.
        images: The image as the network takes it, (1, C, H, W).
        labels: The predicted class, (1,).
        pixels: The image (C, H, W) on which the heat maps are drawn.
        layer: The layer that Grad-CAM uses; empty for the last layer that gives maps.

    Returns:
        By method an image (H, W, 3).
    """
    overlays = {}
    for name, method in METHODS.items():
        options = {"layer": layer} if name == "Grad-CAM" and layer else {}
        overlays[name] = overlay_heat(pixels, method(module, images, labels, **options)[0].numpy())
    return overlays


def embedding(
    run: AnyRun,
    *,
    method: Method = "pca",
    max_samples: int | None = None,
    network: nn.Module | str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Figure:
    """Draw a run's test images as points, by the features before its network's last layer.

    Args:
        run: A run, or its folder. Without test images its validation images are drawn, then its training images.
        method: How the features are projected to two dimensions; t-SNE takes at most 3,000 images.
        max_samples: The most images that are drawn; None for all.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.
        data_dir: The folder of the published datasets; None for the run's own.
        offline: Whether the network must not be used.

    Raises:
        DataError: The data cannot be read, or have changed since the run was made.
        RunError: The run cannot be opened.
    """
    opened = open_run(run, network, data_dir, offline)
    module, description = opened.weights
    split = opened.split
    limit = min(max_samples or len(split), MAX_TSNE_SAMPLES if method == "tsne" else len(split))
    split = draw_samples(split, limit)
    compute = Compute.choose(*FIGURE_COMPUTE)
    vectors = head_features(module, split, description.preprocessing, compute).numpy()
    points = project(vectors, method)
    title = f"{opened.run.path.name}: {len(split):,} images by {vectors.shape[1]} features ({METHOD_NAMES[method]})"
    return class_scatter(points, split.labels.numpy(), description.classes, title)


def field(network: str | Run | OpenedRun, image: Image, *, image_size: int | None = None) -> Figure:
    """Draw the receptive fields of a network's stages on an image, around its middle.

    Args:
        network: A network's name, or a run.
        image: An image file, or pixels (C, H, W) from 0 to 255.
        image_size: The pixels a side of the input of a named network; None for its design size.

    Raises:
        ConfigurationError: The network is unknown, or its layers give no maps.
        DataError: The image cannot be read.
    """
    if isinstance(network, str):
        module, shape = build_for_inspection(network, {}, image_size, None, None)
        name = network
    elif image_size is not None:
        raise ConfigurationError(f"image_size={image_size}: a run has an image size of its own; leave it out")
    else:
        module, description = open_run(network).weights
        shape, name = description.preprocessing.input_shape, description.network
    if isinstance(image, str | Path):
        pixels = read_image(image, 3, shape[1:])
    else:
        pixels = resize_pixels(torch.from_numpy(as_pixels(image)), shape[1:])
    fields: dict[str, int] = {}
    for layer in summarize(module, shape, name).stages():
        if len(layer.output_shape) == 3 and layer.receptive_field not in fields.values():
            fields[layer.name] = layer.receptive_field
    if not fields:
        raise ConfigurationError(f"{name}: none of its layers gives maps")
    return receptive_fields(pixels, fields, f"{name} at {shape[1]} x {shape[2]} px")
