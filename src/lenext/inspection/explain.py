"""Where a network looks: feature maps, and what in a picture an answer hangs on.

Pictures go in as the network takes them, (N, C, H, W) on its device; maps come out as (N, H, W) from 0 to 1, on
the CPU, the largest value of each being 1. The network is left as it was; it computes in evaluation mode, in fp32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.foundation.errors import ConfigurationError, unknown
from lenext.foundation.modes import at_rest

BATCH = 64  # pictures that are occluded at a time


@contextmanager
def kept(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While entered, the last output of each of these layers; what comes after a layer cannot change it in place."""
    layers = dict(network.named_modules())
    for name in names:
        if name not in layers:
            raise ConfigurationError(unknown("layer", name, [one for one in layers if one]))
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
    """What these layers give for the pictures, (N, channels, height, width) or (N, features)."""
    with at_rest(network), kept(network, names) as found, torch.no_grad():
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
        with at_rest(network), torch.no_grad():
            network(images[:1])
    finally:
        for one in hooks:
            one.remove()
    return list(dict.fromkeys(order))


def last_map(network: nn.Module, images: Tensor) -> str:
    """The layer whose map is the last before the network forgets where things are: what Grad-CAM looks at."""
    names = map_layers(network, images)
    if not names:
        raise ConfigurationError(f"{type(network).__name__} has no layer that gives a map; Grad-CAM needs one")
    return names[-1]


def saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """How much the logit of a class (N,) changes with each pixel (Simonyan et al., arXiv:1312.6034)."""
    inputs = images.detach().clone().requires_grad_()
    with at_rest(network), torch.enable_grad():
        score = network(inputs).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, inputs)
    return scaled(grads.abs().amax(1))


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor, layer: str = "") -> Tensor:
    """The maps of a layer, by default the last, weighted by how much a class hangs on them (arXiv:1610.02391)."""
    layer = layer or last_map(network, images)
    with at_rest(network), kept(network, [layer]) as found, torch.enable_grad():
        score = network(images.detach().requires_grad_()).float().gather(1, classes[:, None]).sum()
        (grads,) = torch.autograd.grad(score, found[layer])
    weighted = (grads.mean((2, 3), keepdim=True) * found[layer].detach()).sum(1, keepdim=True).relu()
    return scaled(F.interpolate(weighted.float(), size=images.shape[2:], mode="bilinear")[:, 0])


def occlusion(network: nn.Module, images: Tensor, classes: Tensor, side: int = 0, step: int = 0) -> Tensor:
    """Return how much of a class's probability is lost where a square is blanked with the mean.

    A pixel has the mean loss of the squares that cover it (Zeiler & Fergus, arXiv:1311.2901), so that a map is where
    what matters is, to half a step. Squares reach over the edges, which are covered as often as the middle.

    Args:
        network: from images (N, C, H, W) to logits (N, K).
        images: as the network takes them.
        classes: (N,), one per image.
        side: of the square in pixels; a quarter of the shorter side where it is 0.
        step: pixels between squares; half of the square where it is 0.
    """
    height, width = images.shape[2:]
    side = side or max(1, min(height, width) // 4)
    step = step or max(1, side // 2)
    squares = [
        (slice(max(0, top), top + side), slice(max(0, left), left + side))
        for top in range(step - side, height, step)
        for left in range(step - side, width, step)
    ]
    maps, counts = torch.zeros(len(images), height, width), torch.zeros(height, width)
    for square in squares:
        counts[square] += 1
    with at_rest(network), torch.no_grad():
        for row, (image, label) in enumerate(zip(images, classes.tolist(), strict=True)):
            uncovered = network(image[None]).float().softmax(1)[0, label]
            for start in range(0, len(squares), BATCH):
                some = squares[start : start + BATCH]
                covered = image.repeat(len(some), 1, 1, 1)
                for at, (rows, columns) in enumerate(some):
                    covered[at, :, rows, columns] = 0.0
                lost = (uncovered - network(covered).float().softmax(1)[:, label]).clamp(min=0).tolist()
                for square, value in zip(some, lost, strict=True):
                    maps[row][square] += value
    return scaled(maps / counts)


def scaled(maps: Tensor) -> Tensor:
    """Each map by its own largest value; one of zeros stays so."""
    maps = maps.detach().float().cpu()
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": saliency,
    "Grad-CAM": grad_cam,
    "occlusion": occlusion,
}
