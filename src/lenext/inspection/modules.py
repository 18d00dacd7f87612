"""Modules of a network: layers, blocks, and hooks around their forward passes."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = (nn.Sequential, nn.ModuleList)
POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)

ModuleHook = Callable[[str, nn.Module, tuple[Any, ...], Any], object]


def is_layer(module: nn.Module) -> bool:
    """Return whether a module has no submodules, or owns parameters."""
    return next(module.children(), None) is None or next(module.parameters(recurse=False), None) is not None


@contextmanager
def watch_modules(modules: Iterable[tuple[str, nn.Module]], before: ModuleHook, after: ModuleHook) -> Iterator[None]:
    """Call `before` and `after` around the forward pass of named modules."""
    handles = []
    for name, module in modules:

        def enter(module: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
            before(name, module, inputs, None)

        def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any, name: str = name) -> None:
            after(name, module, inputs, output)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def blank_image(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """Return a blank image (1, C, H, W) on the network's device, in its precision."""
    first = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)


def block_names(network: nn.Module) -> dict[str, str]:
    """Return the block of each layer: a module with submodules; in plain sequences, the layers up to a pooling."""
    names: dict[str, str] = {}

    def walk(parent: nn.Module, prefix: str) -> None:
        group = ""
        for key, child in parent.named_children():
            name = f"{prefix}{key}"
            if isinstance(child, CONTAINERS):
                walk(child, f"{name}.")
                group = ""
            elif next(child.children(), None) is not None:
                names.update((f"{name}.{inner}" if inner else name, name) for inner, _ in child.named_modules())
                group = ""
            elif isinstance(parent, nn.Sequential) and prefix:
                group = group or name
                names[name] = group
                group = "" if isinstance(child, (*POOLINGS, nn.Flatten)) else group
            else:
                names[name] = name

    walk(network, "")
    return names
