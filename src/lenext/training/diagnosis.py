"""Where numbers stop being finite: the first thing on the way from the images to the gradients that is not."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from lenext.training.losses import Loss


def first_bad(network: nn.Module, loss: Loss, images: Tensor, labels: Tensor, usual: Collection[str] = ()) -> str:
    """The first of images, parameters, buffers, outputs of layers, loss and gradients that is not finite, in words;
    empty where all are. usual: parameters and buffers that never were.

    The gradients are lost, and norms take the batch into their statistics.
    """
    if bad := [at for at, image in enumerate(images) if not finite(image)]:
        return f"image {bad[0] + 1} of the batch, before it enters the network"
    for what, named in (("parameter", network.named_parameters()), ("buffer", network.named_buffers())):
        for name, tensor in named:
            if name not in usual and not finite(tensor):
                return f"the {what} {name}"
    network.zero_grad(set_to_none=True)
    found: list[str] = []
    hooks = [watched(name, module, found) for name, module in network.named_modules() if not list(module.children())]
    try:
        value, logits = loss(network, images, labels)
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        return found[0]
    if not finite(logits):
        return "the logits"
    if not finite(value):
        return "the loss, out of finite logits"
    value.backward()
    bad_grads = [name for name, one in network.named_parameters() if one.grad is not None and not finite(one.grad)]
    network.zero_grad(set_to_none=True)
    return f"the gradient of {bad_grads[-1]}" if bad_grads else ""  # the backward pass comes to the last layers first


def watched(name: str, module: nn.Module, found: list[str]) -> torch.utils.hooks.RemovableHandle:
    """Note a layer whose output is not finite."""

    def look(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and not finite(output):
            found.append(f"the output of {name or 'the network'} ({type(layer).__name__})")

    return module.register_forward_hook(look)


def finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def not_finite(network: nn.Module) -> list[str]:
    """The parameters and buffers of a network that are not finite, by name."""
    return [name for name, one in (*network.named_parameters(), *network.named_buffers()) if not finite(one)]
