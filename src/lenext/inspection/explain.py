"""Where a network looks: feature maps, and what in an image an answer hangs on.

Images go in as the network takes them, (N, C, H, W) on its device; maps come out as (N, H, W) from 0 to 1, on
the CPU, the largest value of each being 1. The network is left as it was; it computes in evaluation mode, in fp32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.field_tracing import FieldTracer, field_of, set_field
from lenext.inspection.receptive_field import image_field

BATCH = 64  # images that are occluded at a time


@contextmanager
def capture_outputs(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While entered, the last output of each of these layers; what comes after a layer cannot change it in place."""
    layers = dict(network.named_modules())
    for name in names:
        if name not in layers:
            raise ConfigurationError(unknown_name("layer", name, [one for one in layers if one]))
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., Any]:
        def hook(_: nn.Module, __: object, output: object) -> Tensor | None:
            if not isinstance(output, Tensor):
                return None
            found[name] = output
            return output.clone()

        return hook

    hooks = [layers[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def feature_maps(network: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """What these layers give for the images, (N, channels, height, width) or (N, features)."""
    with evaluation_mode(network), capture_outputs(network, names) as found, torch.no_grad():
        network(images)
    return {name: found[name].cpu() for name in names if name in found}


def map_layers(network: nn.Module, images: Tensor) -> list[str]:
    """The layers and blocks that give maps of more than one pixel, in the order in which they are done."""
    order: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        def note(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                order.append(name)

        return note

    hooks = [module.register_forward_hook(hook(name)) for name, module in network.named_modules() if name]
    try:
        with evaluation_mode(network), torch.no_grad():
            network(images[:1])
    finally:
        for one in hooks:
            one.remove()
    return list(dict.fromkeys(order))


def last_map_layer(network: nn.Module, images: Tensor) -> str:
    """The layer whose map is the last before the network forgets where things are: what Grad-CAM looks at."""
    names = map_layers(network, images)
    if not names:
        raise ConfigurationError(f"{type(network).__name__} has no layer that gives a map; Grad-CAM needs one")
    return names[-1]


def saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """How much the logit of a class (N,) changes with each pixel (Simonyan et al., arXiv:1312.6034)."""
    inputs = images.detach().clone().requires_grad_()
    with evaluation_mode(network), torch.enable_grad():
        score = network(inputs).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, inputs)
    return scaled(grads.abs().amax(1))


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor, layer: str = "") -> Tensor:
    """The maps of a layer, by default the last, weighted by how much a class hangs on them (arXiv:1610.02391).

    Each value stands in the middle of its receptive field: with padding, that of the first is not a stride's middle.
    """
    layer = layer or last_map_layer(network, images)
    inputs = images.detach().clone()
    set_field(inputs, image_field(inputs.shape))
    with evaluation_mode(network), capture_outputs(network, [layer]) as found, torch.enable_grad():
        with FieldTracer():
            score = network(inputs.requires_grad_()).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, found[layer])
    weighted = (grads.mean((2, 3), keepdim=True) * found[layer].detach()).sum(1).relu()
    height, width = images.shape[2:]
    return scaled(spread_out(weighted, map_centers(found[layer], height, width), height, width))


def map_centers(maps: Tensor, height: int, width: int) -> list[list[float]]:
    """Where the rows and columns of a layer's maps stand in the image; evenly, where it is not known."""
    field, centers = field_of(maps), []
    for side, (count, length) in enumerate(zip(maps.shape[2:], (height, width), strict=True)):
        step = field.step_along(2 + side, side) if field else None
        if field is None or not step:
            step, first = length / count, length / count / 2
        else:
            first = field.center[side] + 0.5
        centers.append([first + place * step for place in range(count)])
    return centers


def occlusion(network: nn.Module, images: Tensor, classes: Tensor, side: int = 0, step: int = 0) -> Tensor:
    """How much of a class's probability is lost when a square is blanked with the mean (Zeiler & Fergus,
    arXiv:1311.2901).

    What is lost stands at the square's center; between centers the map is interpolated. Squares hang over the border.

    Args:
        network: gives logits (N, K).
        images: (N, C, H, W).
        classes: (N,).
        side: of the squares in pixels; by default a quarter of the image.
        step: pixels from one square to the next; by default two thirds of the side, so that the edges of squares fall
            between those of others. A smaller step shows places more exactly, in as many more passes.
    """
    height, width = images.shape[2:]
    side = side or max(1, min(height, width) // 4)
    step = step or max(1, round(side * 2 / 3))
    tops, lefts = corners(height, side, step), corners(width, side, step)
    places = [(top, left) for top in tops for left in lefts]
    maps = torch.zeros(len(images), len(places))
    with evaluation_mode(network), torch.no_grad():
        for row, (image, label) in enumerate(zip(images, classes.tolist(), strict=True)):
            whole = network(image[None]).float().softmax(1)[0, label]
            for start in range(0, len(places), BATCH):
                some = places[start : start + BATCH]
                covered = image.repeat(len(some), 1, 1, 1)
                for at, (top, left) in enumerate(some):
                    covered[at, :, max(0, top) : top + side, max(0, left) : left + side] = 0.0
                lost = whole - network(covered).float().softmax(1)[:, label]
                maps[row, start : start + len(some)] = lost.clamp(min=0).cpu()
    grid = maps.view(len(images), len(tops), len(lefts))
    return scaled(spread_out(grid, [[start + side / 2 for start in starts] for starts in (tops, lefts)], height, width))


def corners(length: int, side: int, step: int) -> range:
    """Where squares begin along a side of the image, as many before its middle as after."""
    count = -(-length // step)
    first = (length - side - (count - 1) * step) // 2
    return range(first, first + count * step, step)


def spread_out(grids: Tensor, centers: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Maps (N, rows, columns) to (N, height, width), interpolated between the centers of their rows and columns.

    centers: in pixels from the image's edge; the middle of the first pixel is 0.5. Beyond the last, its value goes on.
    """
    down, across = (weights_between(side, size) for side, size in zip(centers, (height, width), strict=True))
    return down @ grids.float().cpu() @ across.mT


def weights_between(centers: Sequence[float], length: int) -> Tensor:
    """How much each pixel of a side takes of the value at each center, (length, centers)."""
    known = torch.tensor(centers, dtype=torch.float64)
    pixels = torch.arange(length, dtype=torch.float64) + 0.5
    after = torch.searchsorted(known, pixels).clamp(1, max(1, len(known) - 1))
    if len(known) == 1:
        return torch.ones(length, 1)
    share = ((pixels - known[after - 1]) / (known[after] - known[after - 1])).clamp(0, 1)
    weights = torch.zeros(length, len(known), dtype=torch.float64)
    weights[torch.arange(length), after - 1] = 1 - share
    weights[torch.arange(length), after] += share
    return weights.float()


def scaled(maps: Tensor) -> Tensor:
    """Each map by its own largest value; one of zeros stays so."""
    maps = maps.detach().float().cpu()
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": saliency,
    "Grad-CAM": grad_cam,
    "occlusion": occlusion,
}
