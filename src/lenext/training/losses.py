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


AUXILIARY_SHARE = 0.3  # of each auxiliary classifier's loss (GoogLeNet, arXiv:1409.4842)


def with_auxiliary(label_smoothing: float = 0.0) -> Loss:
    """The same, with the losses of a network's auxiliary classifiers added, 0.3 of each."""

    def loss(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits, *others = (one.float() for one in network.forward_with_auxiliary(images))  # type: ignore[operator]
        value = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        for other in others:
            value = value + AUXILIARY_SHARE * F.cross_entropy(other, labels, label_smoothing=label_smoothing)
        return value, logits

    return loss


def default_loss(network: nn.Module, label_smoothing: float) -> Loss:
    """Cross-entropy; over all its classifiers where a network has auxiliary ones."""
    has = getattr(network, "aux1", None) is not None and hasattr(network, "forward_with_auxiliary")
    return with_auxiliary(label_smoothing) if has else cross_entropy(label_smoothing)
