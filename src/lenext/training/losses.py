"""Losses: `loss(network, images, labels) -> (loss, logits)`, the only place that sees all three."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.training.settings import LossSettings

Loss = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From network, images (N, C, H, W) and labels, (N,) or as shares (N, K), to the loss and the logits (N, K)."""

AUXILIARY_SHARE = 0.3  # of each auxiliary classifier's loss (GoogLeNet, arXiv:1409.4842)


class CrossEntropy:
    """Cross-entropy; with auxiliary classifiers in use, 0.3 of the loss of each is added.

    Attributes:
        label_smoothing: The fraction of the target spread evenly over the classes (Szegedy et al., arXiv:1512.00567).
        weights: Of the classes (K,).
    """

    def __init__(self, label_smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        self.label_smoothing, self.weights = label_smoothing, weights

    def is_plain(self, network: nn.Module) -> bool:
        """Return whether its value is the plain cross-entropy that is reported."""
        return self.label_smoothing == 0 and self.weights is None and not has_auxiliary(network)

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss: with class weights divided by the sum of the samples' weights, for mixed labels too."""
        if self.weights is None or labels.ndim == 1:
            return F.cross_entropy(logits, labels, self.weights, label_smoothing=self.label_smoothing)
        total = F.cross_entropy(logits, labels, self.weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total / self.batch_weight(labels)  # torch divides by the number of samples where labels are shares

    def batch_weight(self, labels: Tensor) -> Tensor:
        """Return what a batch counts in an update of several: its samples, or the sum of their class weights.

        Args:
            labels: Class indices (N,), or shares (N, K).
        """
        if self.weights is None:
            return torch.tensor(float(len(labels)), device=labels.device)
        return (self.weights[labels] if labels.ndim == 1 else labels @ self.weights).sum()

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not has_auxiliary(network):
            logits = network(images).float()
            return self.from_logits(logits, labels), logits
        outputs = network.forward_with_auxiliary(images)  # type: ignore[operator]
        logits, *auxiliary_logits = (output.float() for output in outputs)
        loss = self.from_logits(logits, labels)
        for output in auxiliary_logits:
            loss = loss + AUXILIARY_SHARE * self.from_logits(output, labels)
        return loss, logits


def batch_weight(loss: Loss, labels: Tensor) -> Tensor:
    """Return what a loss divides by for these labels (N,): the number of samples unless it says otherwise."""
    weigh = getattr(loss, "batch_weight", None)
    return weigh(labels) if weigh else torch.tensor(float(len(labels)), device=labels.device)


def has_auxiliary(network: nn.Module) -> bool:
    """Return whether a network has auxiliary classifiers in use."""
    return getattr(network, "aux1", None) is not None and hasattr(network, "forward_with_auxiliary")


class Mixing:
    """A loss on images that are mixed with the next one of their batch, and their labels with them.

    mixup blends the two images (Zhang et al., arXiv:1710.09412), cutmix pastes a box of one into the other (Yun et al.,
    arXiv:1905.04899); with both, each batch takes one of them at random. The larger part is always the image's own.
    Random numbers are torch's, which training seeds at each step.
    """

    def __init__(self, loss: Loss, mixup: float, cutmix: float, classes: int) -> None:
        """Wrap a loss.

        Args:
            loss: What is minimized on the mixed images; it takes labels as shares (N, K).
            mixup: Both parameters of the Beta distribution of the shares; 0 for off.
            cutmix: The same for the area of the box.
            classes: The number of classes.
        """
        self.loss, self.alphas, self.classes = loss, (mixup, cutmix), classes

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss(network, *self.mix(images, labels))

    def mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixed images (N, C, H, W), and the labels (N,) as shares (N, K)."""
        mixup, cutmix = self.alphas
        pastes = cutmix > 0 and (mixup == 0 or bool(torch.rand(()) < 0.5))
        alpha = cutmix if pastes else mixup
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        share = max(share, 1 - share)
        partners = images.roll(1, 0)
        if pastes:
            images, share = paste_boxes(images, partners, share)
        else:
            images = images.lerp(partners, 1 - share)
        targets = F.one_hot(labels, self.classes).float()
        return images, targets.lerp(targets.roll(1, 0), 1 - share)

    def batch_weight(self, labels: Tensor) -> Tensor:
        """Return what a batch counts; mixing moves weight between its samples, but adds none."""
        return batch_weight(self.loss, labels)


def paste_boxes(images: Tensor, partners: Tensor, share: float) -> tuple[Tensor, float]:
    """Return images (N, C, H, W) with a box of 1 - share of their partners, and the exact share that is their own."""
    height, width = images.shape[-2:]
    tall, wide = (int(length * (1 - share) ** 0.5) for length in (height, width))
    top, left = (int(torch.randint(0, length - side + 1, ())) for length, side in ((height, tall), (width, wide)))
    mixed = images.clone()
    mixed[..., top : top + tall, left : left + wide] = partners[..., top : top + tall, left : left + wide]
    return mixed, 1 - tall * wide / (height * width)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return weights (K,) that make every class count equally, 1 on average over the samples; 0 for an empty class."""
    counts = labels.bincount(minlength=classes).float()
    is_present = counts > 0
    return torch.where(is_present, len(labels) / (is_present.sum() * counts.clamp(min=1)), 0.0)


def build_loss(settings: LossSettings, labels: Tensor, classes: int) -> Loss:
    """Return the loss of the settings.

    Args:
        settings: What is minimized.
        labels: The labels (N,) of the training samples on the device, for the weights of the classes.
        classes: The number of classes.
    """
    weights = class_weights(labels, classes) if settings.class_weights else None
    loss: Loss = CrossEntropy(settings.label_smoothing, weights)
    return Mixing(loss, settings.mixup, settings.cutmix, classes) if settings.mixup or settings.cutmix else loss


class Objective(nn.Module):
    """A network and its loss as one module, which can be compiled."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits (N, K)."""
        return self.loss(self.network, images, labels)
