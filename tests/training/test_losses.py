"""Losses against formulas written out, and what mixing does to images and labels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lenext.training.losses import CrossEntropy, Mixing, build_loss, class_weights, paste_boxes
from lenext.training.recipe import Recipe
from lenext.training.settings import LossSettings


class Keep(nn.Module):
    """Remembers its images and answers with fixed logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.seen = logits, torch.empty(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return self.logits


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_loss_of_mixed_images_is_shared_as_they_are(mixup: float, cutmix: float) -> None:
    torch.manual_seed(0)
    images, labels, logits = torch.zeros(4, 1, 8, 8), torch.arange(4), torch.randn(4, 4)
    images += torch.arange(4.0).view(4, 1, 1, 1) ** 2  # so that the mean of a mixed image tells the shares
    for _ in range(20):
        network = Keep(logits)
        value, _ = Mixing(CrossEntropy(), mixup, cutmix, 4)(network, images, labels)
        own, other = images.mean((1, 2, 3)), images.roll(1, 0).mean((1, 2, 3))
        shares = (network.seen.mean((1, 2, 3)) - other) / (own - other)
        assert torch.allclose(shares, shares[:1].expand(4), atol=1e-5)
        assert float(shares[0]) > 0.49
        expected = shares[0] * F.cross_entropy(logits, labels) + (1 - shares[0]) * F.cross_entropy(
            logits, labels.roll(1)
        )
        assert float(value) == pytest.approx(float(expected), abs=1e-4)


def test_a_box_is_of_the_share_that_is_said() -> None:
    torch.manual_seed(0)
    for share in (0.5, 0.77, 0.99, 1.0):
        mixed, exact = paste_boxes(torch.zeros(2, 3, 17, 32), torch.ones(2, 3, 17, 32), share)
        assert float(mixed.mean()) == pytest.approx(1 - exact, abs=1e-6)
        assert exact == pytest.approx(share, abs=0.05)


def test_weighted_classes_count_the_same() -> None:
    labels = torch.tensor([0] * 90 + [2] * 10)
    weights = class_weights(labels, 3)
    assert weights.tolist() == pytest.approx([100 / 180, 0, 5])
    loss = build_loss(LossSettings.from_recipe(Recipe(class_weights=True)), labels, 3)
    logits = torch.randn(100, 3)
    by_class = [F.cross_entropy(logits[labels == one], labels[labels == one]) for one in (0, 2)]
    assert float(loss(Keep(logits), logits, labels)[0]) == pytest.approx(float(sum(by_class)) / 2, abs=1e-5)


def test_without_options_it_is_plain_cross_entropy() -> None:
    loss = build_loss(LossSettings.from_recipe(Recipe()), torch.arange(3), 3)
    assert isinstance(loss, CrossEntropy)
    logits = torch.randn(3, 3)
    assert torch.equal(loss(Keep(logits), logits, torch.arange(3))[0], F.cross_entropy(logits, torch.arange(3)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_mixed_labels_divide_by_the_sum_of_class_weights(mixup: float, cutmix: float, smoothing: float) -> None:
    """A mixed batch is its two label sets, each by its share; torch's own weighted mean is the oracle of each."""
    torch.manual_seed(0)
    labels, weights = torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([0.2, 5.0, 1.0])
    images, logits = torch.randn(6, 1, 8, 8), torch.randn(6, 3)
    loss = Mixing(CrossEntropy(smoothing, weights), mixup, cutmix, 3)
    network = Keep(logits)
    value, _ = loss(network, images, labels)
    share = float((network.seen - images.roll(1, 0)).abs().sum() / (images - images.roll(1, 0)).abs().sum())
    if cutmix:
        share = float((network.seen == images).double().mean())
    of = [F.cross_entropy(logits, one, weights, reduction="sum", label_smoothing=smoothing)
          for one in (labels, labels.roll(1))]  # fmt: skip
    assert float(value) == pytest.approx(
        float(share * of[0] + (1 - share) * of[1]) / float(weights[labels].sum()), 1e-4
    )
    assert float(loss.batch_weight(labels)) == pytest.approx(float(weights[labels].sum()))


def test_unmixed_shares_are_the_labels() -> None:
    """One-hot shares give torch's own weighted mean."""
    labels, weights, logits = torch.tensor([0, 1, 1, 2]), torch.tensor([0.2, 5.0, 1.0]), torch.randn(4, 3)
    loss = CrossEntropy(0.1, weights)
    assert float(loss.from_logits(logits, F.one_hot(labels, 3).float())) == pytest.approx(
        float(loss.from_logits(logits, labels))
    )
