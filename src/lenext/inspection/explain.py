"""Explain predictions: feature maps, saliency, Grad-CAM and occlusion.

Images are the network's input, (N, C, H, W) on its device; the maps returned are (N, H, W) from 0 to 1, on the CPU, the
largest value of each being 1. The network is not changed; it computes in evaluation mode, in fp32.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.field_tracing import FieldTracer, field_of, set_field
from lenext.inspection.receptive_field import image_field

OCCLUSION_BATCH = 64  # occluded images at a time


@contextmanager
def capture_outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Capture the last output of each named layer as a clone, which later layers cannot change in place.

    Raises ConfigurationError for a layer that does not exist.
    """
    layers = dict(network.named_modules())
    for name in names:
        if name not in layers:
            raise ConfigurationError(unknown_name("layer", name, [layer for layer in layers if layer]))
    outputs: dict[str, Tensor] = {}

    def make_hook(name: str) -> Callable[..., Any]:
        def hook(_: nn.Module, __: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                return None
            outputs[name] = output
            return output.clone()

        return hook

    hooks = [layers[name].register_forward_hook(make_hook(name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def feature_maps(network: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the outputs of layers for images, (N, channels, height, width) or (N, features), by name."""
    with evaluation_mode(network), capture_outputs(network, names) as outputs, torch.no_grad():
        network(images)
    return {name: outputs[name].cpu() for name in names if name in outputs}


def map_layers(network: nn.Module, images: Tensor) -> list[str]:
    """Return the layers and blocks whose outputs are maps of more than one pixel, in the order they finish."""
    order: list[str] = []

    def make_hook(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                order.append(name)

        return hook

    hooks = [module.register_forward_hook(make_hook(name)) for name, module in network.named_modules() if name]
    try:
        with evaluation_mode(network), torch.no_grad():
            network(images[:1])
    finally:
        for handle in hooks:
            handle.remove()
    return list(dict.fromkeys(order))


def last_map_layer(network: nn.Module, images: Tensor) -> str:
    """Return the last layer whose output is a map, which Grad-CAM uses. Raises ConfigurationError if there is none."""
    names = map_layers(network, images)
    if not names:
        raise ConfigurationError(f"{type(network).__name__} has no layer whose output is a map, which Grad-CAM needs")
    return names[-1]


def saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the absolute gradient of a class's logit by each pixel (Simonyan et al., arXiv:1312.6034)."""
    inputs = images.detach().clone().requires_grad_()
    with evaluation_mode(network), torch.enable_grad():
        score = network(inputs).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, inputs)
    return scale_maps(grads.abs().amax(1))


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor, layer: str = "") -> Tensor:
    """Return a layer's maps weighted by their gradients for a class (Selvaraju et al., arXiv:1610.02391).

    Each value is placed in the middle of its receptive field: with padding, that of the first value is not the middle
    of a stride.

    Args:
        network: Network with logits (N, K).
        images: (N, C, H, W).
        classes: (N,).
        layer: Name of the layer; by default the last one whose output is a map.
    """
    layer = layer or last_map_layer(network, images)
    inputs = images.detach().clone()
    set_field(inputs, image_field(inputs.shape))
    with evaluation_mode(network), capture_outputs(network, [layer]) as outputs, torch.enable_grad():
        with FieldTracer():
            score = network(inputs.requires_grad_()).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, outputs[layer])
    weighted = (grads.mean((2, 3), keepdim=True) * outputs[layer].detach()).sum(1).relu()
    height, width = images.shape[2:]
    return scale_maps(interpolate_maps(weighted, map_centers(outputs[layer], height, width), height, width))


def map_centers(maps: Tensor, height: int, width: int) -> list[list[float]]:
    """Return the positions of a layer's rows and columns in the image; evenly spaced if they are unknown."""
    field, centers = field_of(maps), []
    for side, (count, length) in enumerate(zip(maps.shape[2:], (height, width), strict=True)):
        step = field.step_along(2 + side, side) if field else None
        if field is None or not step:
            step, first = length / count, length / count / 2
        else:
            first = field.center[side] + 0.5
        centers.append([first + position * step for position in range(count)])
    return centers


def occlusion(network: nn.Module, images: Tensor, classes: Tensor, side: int = 0, step: int = 0) -> Tensor:
    """Return the probability that a class loses if a square is blanked (Zeiler & Fergus, arXiv:1311.2901).

    The loss is placed at the square's center; between centers the map is interpolated. Squares are blanked with the
    mean, and may reach beyond the border.

    Args:
        network: Network with logits (N, K).
        images: (N, C, H, W).
        classes: (N,).
        side: Side of the squares in pixels; by default a quarter of the image.
        step: Pixels from one square to the next; by default two thirds of the side, so that the edges of squares fall
            between those of others. A smaller step gives finer maps and takes more passes.
    """
    height, width = images.shape[2:]
    side = side or max(1, min(height, width) // 4)
    step = step or max(1, round(side * 2 / 3))
    tops, lefts = square_starts(height, side, step), square_starts(width, side, step)
    squares = [(top, left) for top in tops for left in lefts]
    maps = torch.zeros(len(images), len(squares))
    with evaluation_mode(network), torch.no_grad():
        for row, (image, label) in enumerate(zip(images, classes.tolist(), strict=True)):
            probability = network(image[None]).float().softmax(1)[0, label]
            for start in range(0, len(squares), OCCLUSION_BATCH):
                batch = squares[start : start + OCCLUSION_BATCH]
                occluded = image.repeat(len(batch), 1, 1, 1)
                for index, (top, left) in enumerate(batch):
                    occluded[index, :, max(0, top) : top + side, max(0, left) : left + side] = 0.0
                lost = probability - network(occluded).float().softmax(1)[:, label]
                maps[row, start : start + len(batch)] = lost.clamp(min=0).cpu()
    grid = maps.view(len(images), len(tops), len(lefts))
    centers = [[start + side / 2 for start in starts] for starts in (tops, lefts)]
    return scale_maps(interpolate_maps(grid, centers, height, width))


def square_starts(length: int, side: int, step: int) -> range:
    """Return where squares start along a side of the image, symmetric to its middle."""
    count = math.ceil(length / step)
    first = (length - side - (count - 1) * step) // 2
    return range(first, first + count * step, step)


def interpolate_maps(grids: Tensor, centers: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Interpolate maps (N, rows, columns) to (N, height, width).

    Args:
        grids: The maps.
        centers: Positions of the rows and of the columns in pixels; the middle of the first pixel is 0.5. Beyond the
            first and the last center, their values are repeated.
        height: Height of the image.
        width: Width of the image.
    """
    down, across = (interpolation_weights(side, size) for side, size in zip(centers, (height, width), strict=True))
    return down @ grids.float().cpu() @ across.mT


def interpolation_weights(centers: Sequence[float], length: int) -> Tensor:
    """Return the weights (length, centers) of the values at the centers, for each pixel of a side."""
    positions = torch.tensor(centers, dtype=torch.float64)
    pixels = torch.arange(length, dtype=torch.float64) + 0.5
    after = torch.searchsorted(positions, pixels).clamp(1, max(1, len(positions) - 1))
    if len(positions) == 1:
        return torch.ones(length, 1)
    fraction = ((pixels - positions[after - 1]) / (positions[after] - positions[after - 1])).clamp(0, 1)
    weights = torch.zeros(length, len(positions), dtype=torch.float64)
    weights[torch.arange(length), after - 1] = 1 - fraction
    weights[torch.arange(length), after] += fraction
    return weights.float()


def scale_maps(maps: Tensor) -> Tensor:
    """Divide each map by its largest value; a map of zeros stays."""
    maps = maps.detach().float().cpu()
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": saliency,
    "Grad-CAM": grad_cam,
    "occlusion": occlusion,
}
