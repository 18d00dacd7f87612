"""What is minimised: `loss(network, images, labels) -> (loss, logits)`, the one place that sees all three."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.training.recipe import Recipe

Loss = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From network, images (N, C, H, W) and labels, (N,) or as shares (N, K), to the loss and the logits (N, K)."""

AUXILIARY_SHARE = 0.3  # of each auxiliary classifier's loss (GoogLeNet, arXiv:1409.4842)


class CrossEntropy:
    """Cross-entropy.

    label_smoothing: the share of the target spread evenly over the classes (Szegedy et al., arXiv:1512.00567).
    weights: of the classes (K,). Of a network with auxiliary classifiers in use, 0.3 of the loss of each is added.
    """

    def __init__(self, label_smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        self.label_smoothing, self.weights = label_smoothing, weights

    def is_plain(self, network: nn.Module) -> bool:
        """Whether its value is what is reported, too."""
        return self.label_smoothing == 0 and self.weights is None and not has_auxiliary(network)

    def of(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss: with class weights divided by the sum of the samples' weights, for mixed labels too."""
        if self.weights is None or labels.ndim == 1:
            return F.cross_entropy(logits, labels, self.weights, label_smoothing=self.label_smoothing)
        total = F.cross_entropy(logits, labels, self.weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total / self.batch_weight(labels)  # torch divides by the number of samples where labels are shares

    def batch_weight(self, labels: Tensor) -> Tensor:
        """Return what a batch counts among others: its number of samples, or the sum of their class weights.

        Args:
            labels: class indices (N,), or shares (N, K).
        """
        if self.weights is None:
            return torch.tensor(float(len(labels)), device=labels.device)
        return (self.weights[labels] if labels.ndim == 1 else labels @ self.weights).sum()

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not has_auxiliary(network):
            logits = network(images).float()
            return self.of(logits, labels), logits
        logits, *others = (one.float() for one in network.forward_with_auxiliary(images))  # type: ignore[operator]
        value = self.of(logits, labels)
        for other in others:
            value = value + AUXILIARY_SHARE * self.of(other, labels)
        return value, logits


def batch_weight(loss: Loss, labels: Tensor) -> Tensor:
    """Return by what a loss divides for these labels (N,): the number of samples where it does not say."""
    weigh = getattr(loss, "batch_weight", None)
    return weigh(labels) if weigh else torch.tensor(float(len(labels)), device=labels.device)


def has_auxiliary(network: nn.Module) -> bool:
    """Whether it has auxiliary classifiers in use."""
    return getattr(network, "aux1", None) is not None and hasattr(network, "forward_with_auxiliary")


class Mixing:
    """A loss on images of which each is mixed with the next of its batch, and its label with it.

    mixup, cutmix: how evenly, as both parameters of a Beta distribution; 0 leaves it out. mixup adds the two images
    up (Zhang et al., arXiv:1710.09412), cutmix puts a box of one on the other (Yun et al., arXiv:1905.04899); where
    both are asked for, batches take turns by chance. The larger part is always the image's own, so that its label is
    the larger one. Random numbers are torch's, which training seeds at each step.
    """

    def __init__(self, loss: Loss, mixup: float, cutmix: float, classes: int) -> None:
        self.loss, self.alphas, self.classes = loss, (mixup, cutmix), classes

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mixup, cutmix = self.alphas
        boxed = cutmix > 0 and (mixup == 0 or bool(torch.rand(()) < 0.5))
        alpha = cutmix if boxed else mixup
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        share = max(share, 1 - share)
        others = images.roll(1, 0)
        if boxed:
            images, share = with_box(images, others, share)
        else:
            images = images.lerp(others, 1 - share)
        targets = F.one_hot(labels, self.classes).float()
        return self.loss(network, images, targets.lerp(targets.roll(1, 0), 1 - share))

    def batch_weight(self, labels: Tensor) -> Tensor:
        """Return what a batch counts among others; mixing moves weight between its samples, but adds none."""
        return batch_weight(self.loss, labels)


def with_box(images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
    """Images with a box of 1 - share of the others in them; and their own share, exactly."""
    height, width = images.shape[-2:]
    tall, wide = (int(length * (1 - share) ** 0.5) for length in (height, width))
    top, left = (int(torch.randint(0, length - side + 1, ())) for length, side in ((height, tall), (width, wide)))
    mixed = images.clone()
    mixed[..., top : top + tall, left : left + wide] = others[..., top : top + tall, left : left + wide]
    return mixed, 1 - tall * wide / (height * width)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """(K,): so that each class counts as much as any other, 1 on the average over the images; 0 for an empty one."""
    counts = labels.bincount(minlength=classes).float()
    there = counts > 0
    return torch.where(there, len(labels) / (there.sum() * counts.clamp(min=1)), 0.0)


def default_loss(recipe: Recipe, labels: Tensor, classes: int) -> Loss:
    """The recipe's loss. labels: of the training images, on the device, for the weights of the classes."""
    weights = class_weights(labels, classes) if recipe.class_weights else None
    loss: Loss = CrossEntropy(recipe.label_smoothing, weights)
    return Mixing(loss, recipe.mixup, recipe.cutmix, classes) if recipe.mixup or recipe.cutmix else loss


class Objective(nn.Module):
    """A network and its loss as one module: what is compiled, or wrapped for many processes."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss(self.network, images, labels)
