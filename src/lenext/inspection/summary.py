"""What a network is made of, layer by layer, measured on one blank picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One call of one layer: its name and type, the shape it gives (without N), its own parameters (once)."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The layers in the order in which they are called, and the totals. input_shape is (C, H, W)."""

    network: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int


Watch = Callable[[str, nn.Module, tuple[Any, ...], Any], object]


@contextmanager
def watched(network: nn.Module, before: Watch, after: Watch) -> Iterator[None]:
    """Call `before` and `after` around each layer that has no layers inside or has parameters of its own."""
    handles = []
    for name, module in network.named_modules():
        if next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None:
            continue

        def enter(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
            before(name, module, given, None)

        def leave(module: nn.Module, given: tuple[Any, ...], output: Any, name: str = name) -> None:
            after(name, module, given, output)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients; each part's mode is put back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def blank(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """One blank picture (1, C, H, W) where the network is."""
    first = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)


def summarize(network: nn.Module, input_shape: tuple[int, int, int], name: str = "") -> Summary:
    """The summary of any nn.Module for pictures of `input_shape` (C, H, W)."""
    layers: list[Layer] = []
    counted: set[int] = set()

    def after(layer: str, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        own = [one for one in module.parameters(recurse=False) if id(one) not in counted]
        counted.update(map(id, own))
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        layers.append(Layer(layer, type(module).__name__, shape, sum(one.numel() for one in own)))

    with at_rest(network), watched(network, lambda *_: None, after):
        output = network(blank(network, input_shape))
    every = list(network.parameters())
    return Summary(
        name or type(network).__name__,
        input_shape,
        tuple(output.shape[1:]),
        tuple(layers),
        sum(one.numel() for one in every),
        sum(one.numel() for one in every if one.requires_grad),
    )
