"""Initial weights that several families share."""

import torch
from torch import nn


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
