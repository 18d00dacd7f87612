"""A batch shared out to replicas: the gradients and statistics of its parts, worked out one after the other."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import lenext
from lenext.acceleration.replicas import Replicas
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.models import create
from lenext.training.losses import CrossEntropy
from lenext.training.recipe import Recipe

CPU = Compute.choose("cpu", "fp32")
RECIPE = Recipe(
    epochs=2,
    batch_size=50,
    train_samples=180,
    learning_rate=0.01,
    validation_fraction=0.0,
    replicas=3,
    precision="fp32",
)


@pytest.mark.parametrize("name", ["lenet_32px", "airbench94"])
@pytest.mark.parametrize("count", [8, 11])
def test_it_is_the_mean_over_the_parts(name: str, count: int, threads: None) -> None:
    """With eleven images the parts are of 4, 4 and 3."""
    torch.manual_seed(0)
    network = create(name, in_channels=3)
    images, labels = torch.randn(count, 3, 32, 32), torch.arange(count) % 10
    parts = [copy.deepcopy(network) for _ in range(3)]
    expected = torch.zeros(())
    for part, some, theirs in zip(parts, images.tensor_split(3), labels.tensor_split(3), strict=True):
        value, _ = CrossEntropy()(part, some, theirs)
        (value * len(some) / count).backward()  # type: ignore[no-untyped-call]
        expected = expected + value.detach() * len(some) / count
    shared = Replicas(network, CrossEntropy(), 3, CPU)
    value, logits = shared(images, labels)
    value.backward()
    assert logits.shape == (count, 10)
    assert torch.allclose(value, expected, atol=1e-6)
    for ours, *theirs in zip(network.parameters(), *(part.parameters() for part in parts), strict=True):
        assert ours.grad is not None
        assert torch.allclose(ours.grad, sum(one.grad for one in theirs), atol=1e-5)  # type: ignore[arg-type]
    shares = [len(some) / count for some in images.tensor_split(3)]
    for ours, *others in zip(network.buffers(), *(part.buffers() for part in parts), strict=True):
        mean = sum(one.double() * share for one, share in zip(others, shares, strict=True))
        assert torch.allclose(ours.double(), mean, atol=1e-5)  # type: ignore[arg-type]


def test_training_with_replicas_repeats_to_the_bit(digits: Dataset, threads: None) -> None:
    def trained() -> tuple[nn.Module, float]:
        torch.manual_seed(0)
        network = create("lenet_32px", in_channels=1)
        last = list(lenext.fit(network, digits, replace(RECIPE, image_size=32)))[-1]
        return network, last.train_loss

    (first, loss), (second, again) = trained(), trained()
    assert loss == again
    for ours, theirs in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.get_num_threads() == 3


def test_what_draws_or_keeps_something_is_refused(digits: Dataset) -> None:
    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    for network, recipe, reason in (
        (create("lenet", dropout=0.2), RECIPE, "dropout drops at random"),
        (create("convnext_32px", in_channels=1, stochastic_depth=0.1), RECIPE, "drops at random"),
        (nn.Sequential(Own(), create("lenet")), RECIPE, "Own may keep"),
        (create("lenet"), replace(RECIPE, mixup=0.2), "mixup and cutmix"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            next(iter(lenext.fit(network, digits, recipe)))
    with pytest.raises(ConfigurationError, match="batches of 5 are too small"):
        next(iter(lenext.fit(create("lenet"), digits, replace(RECIPE, batch_size=5))))
    with pytest.raises(ConfigurationError, match="cannot be compiled"):
        Recipe(replicas=2, compile="yes")
