"""What the families share: activations, poolings and norms by name, a whitening layer, initialisations."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Pooling = Literal["max", "average"]
Norm = Literal["none", "batch", "layer", "group", "instance"]


PIXELS = 1 << 22  # whose patches are in memory together


class Whitening(nn.Conv2d):
    """A convolution whose filters are fixed, fitted to the training images, after which neighbouring pixels are no
    longer correlated (Page 2018, myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks). (N, C, H, W) to
    (N, 2 C k^2, H - k + 1, W - k + 1): each filter and its negative, so that no activation loses half of it.

    Training fits it before its first step; until then its filters are random. The bias is learned.
    """

    fitted: Tensor

    def __init__(self, in_channels: int, kernel_size: int = 2) -> None:
        inputs = in_channels * kernel_size**2
        super().__init__(in_channels, 2 * inputs, kernel_size)
        del self.weight  # not a parameter
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.register_buffer("weight", self.paired(nn.init.orthogonal_(torch.empty(inputs, inputs))))
        self.register_buffer("fitted", torch.tensor(False))

    def paired(self, filters: Tensor) -> Tensor:
        """Filters (C k^2, C k^2), one a row, and their negatives, as the weight of a convolution."""
        return torch.cat([filters, -filters]).view(-1, self.in_channels, *self.kernel_size)

    @torch.no_grad()
    def fit(self, images: Tensor, smoothing: float = 5e-4) -> None:
        """Set the filters by the covariance of the patches of images (N, C, H, W): its eigenvectors, each over the
        root of its eigenvalue, to which `smoothing` is added."""
        covariance, count = torch.zeros(self.in_channels * self.kernel_size[0] ** 2, 1).double(), 0
        for some in images.split(max(1, PIXELS // images[0].numel())):
            patches = F.unfold(some.float(), self.kernel_size).mT.flatten(0, 1)  # (N positions, C k^2)
            covariance = covariance + (patches.T @ patches).double()
            count += len(patches)
        values, vectors = torch.linalg.eigh(covariance / count)
        self.weight.copy_(self.paired((vectors / (values + smoothing).sqrt()).T))
        self.fitted.fill_(True)


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def activation_layer(name: Activation, inplace: bool = False) -> nn.Module:
    """The activation of this name. inplace: a ReLU writes over its input, which must then be of no more use."""
    return nn.ReLU(inplace=True) if inplace and name == "relu" else ACTIVATIONS[name]()


def pooling_layer(name: Pooling, kernel_size: int, stride: int, padding: int = 0) -> nn.Module:
    """Max or average pooling."""
    return POOLINGS[name](kernel_size, stride, padding)


def norm_layer(name: Norm, channels: int) -> nn.Module:
    """A norm of (N, channels, H, W): over the batch by channel; over an image (layer), groups of its channels (group,
    8 or the nearest number that divides them), or each of them (instance); all with a scale and a shift."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if name == "none":
        return nn.Identity()
    groups = (
        1 if name == "layer" else next(number for number in range(min(8, channels), 0, -1) if channels % number == 0)
    )
    return nn.GroupNorm(groups, channels)


def scaled(widths: Sequence[int], factor: float) -> tuple[int, ...]:
    """Channel counts times a factor, at least one each: `VGG-11/4` is scaled by 0.25."""
    if min(widths) < 1 or factor <= 0:
        raise ValueError(f"widths {tuple(widths)} times {factor:g} must be at least 1")
    return tuple(max(1, round(width * factor)) for width in widths)


def learns(layer: nn.Module) -> bool:
    """Whether a layer's weight is a parameter; a whitening layer's is fixed."""
    return isinstance(layer.weight, nn.Parameter)


@torch.no_grad()
def initialize_identity(network: nn.Module) -> None:
    """Convolutions begin by passing their first channels on as they are (`dirac`); filters beyond these stay random."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1 and learns(module):
            nn.init.dirac_(module.weight[: module.in_channels])


def initialize_kaiming(network: nn.Module) -> None:
    """Convolutions drawn so that gradients keep their size through ReLUs (He et al. 2015, arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and learns(module):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
