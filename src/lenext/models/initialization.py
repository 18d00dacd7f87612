"""Initial weights: those that a recipe asks for, and those that several families share."""

import torch
from torch import nn


def initialize(network: nn.Module, method: str) -> None:
    """Draw the weights of convolutions and dense layers again; biases and norms stay.

    Args:
        network: It is changed in place.
        method: `xavier`: uniform (Glorot and Bengio 2010), as D1 and D4 have it. `kaiming`: normal (He et al.,
            arXiv:1502.01852). `identity`: convolutions alone, which begin by passing their first channels on (Jordan,
            arXiv:2404.00498).
    """
    if method == "identity":
        initialize_identity(network)
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and has_trainable_weight(module):
            if method == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def has_trainable_weight(layer: nn.Module) -> bool:
    """Return whether a layer's weight is a parameter; that of a whitening layer is a buffer."""
    return isinstance(layer.weight, nn.Parameter)


@torch.no_grad()
def initialize_identity(network: nn.Module) -> None:
    """Make each convolution pass on its first channels unchanged; filters beyond these stay random."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1 and has_trainable_weight(module):
            nn.init.dirac_(module.weight[: module.in_channels])


def initialize_kaiming(network: nn.Module) -> None:
    """Draw convolutions so that gradients keep their size through ReLUs (He et al. 2015, arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and has_trainable_weight(module):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
