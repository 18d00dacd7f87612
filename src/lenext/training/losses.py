"""What is minimised: `loss(network, images, labels) -> (loss, logits)`, the one place that sees all three."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

Loss = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From network, images (N, C, H, W) and labels (N,) to the loss, a scalar, and the logits (N, K)."""


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy, with a share of the target spread evenly over the classes (Szegedy et al., arXiv:1512.00567)."""

    def loss(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(images).float()
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing), logits

    return loss
