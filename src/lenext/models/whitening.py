"""A whitening layer, fitted to the training images.

It comes from Page 2018, myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK_PIXELS = 1 << 22  # of images whose patches are in memory together


class Whitening(nn.Conv2d):
    """A convolution with fixed filters that make neighbouring pixels uncorrelated. (N, C, H, W) to (N, K, H', W').

    Its filters come in pairs, each and its negative, so that no activation loses half of it: K is 2 C k^2, and H' is
    H - k + 1 for filters of k x k. The bias is learned. Training fits the filters to its images before the first step;
    until then they are random.

    Attributes:
        fitted: Whether the filters have been fitted, as a tensor, so that it is saved with them.
    """

    fitted: Tensor

    def __init__(self, in_channels: int, kernel_size: int = 2) -> None:
        inputs = in_channels * kernel_size**2
        super().__init__(in_channels, 2 * inputs, kernel_size)
        del self.weight  # not a parameter
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.register_buffer("weight", self.pair_filters(nn.init.orthogonal_(torch.empty(inputs, inputs))))
        self.register_buffer("fitted", torch.tensor(False))

    def pair_filters(self, filters: Tensor) -> Tensor:
        """Return filters (C k^2, C k^2), one a row, and their negatives as a weight (2 C k^2, C, k, k)."""
        return torch.cat([filters, -filters]).view(-1, self.in_channels, *self.kernel_size)

    @torch.no_grad()
    def fit(self, images: Tensor, smoothing: float = 5e-4) -> None:
        """Set the filters to the eigenvectors of the covariance of image patches, each over its standard deviation.

        Args:
            images: Training images (N, C, H, W), as the network takes them.
            smoothing: Added to each eigenvalue before its root is taken.
        """
        covariance, count = torch.zeros(self.in_channels * self.kernel_size[0] ** 2, 1).double(), 0
        for chunk in images.split(max(1, CHUNK_PIXELS // images[0].numel())):
            patches = F.unfold(chunk.float(), self.kernel_size).mT.flatten(0, 1)  # (N positions, C k^2)
            covariance = covariance + (patches.T @ patches).double()
            count += len(patches)
        values, vectors = torch.linalg.eigh(covariance / count)
        self.weight.copy_(self.pair_filters((vectors / (values + smoothing).sqrt()).T))
        self.fitted.fill_(True)
