"""The optimizers, schedules and initialisations against torch's own."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lenext.foundation.device import Compute
from lenext.models import create
from lenext.models.initialization import initialize
from lenext.training.losses import CrossEntropy
from lenext.training.optimizers import build_optimizers
from lenext.training.recipe import Length, Recipe
from lenext.training.schedule import learning_rate
from lenext.training.settings import OptimizerSettings, ScheduleSettings
from lenext.training.update import Update

PLAIN = Compute.choose("cpu", "fp32")


def torchs(schedule: str, recipe: Recipe, steps: int) -> list[float]:
    """The rates that torch's own scheduler gives."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], recipe.learning_rate)  # type: ignore[arg-type]
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if schedule == "one_cycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            recipe.learning_rate,
            total_steps=steps,
            cycle_momentum=False,  # type: ignore[arg-type]
        )
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedule_of(recipe: Recipe, updates: int, per_epoch: int) -> ScheduleSettings:
    """The recipe's schedule over this number of updates."""
    schedule = ScheduleSettings.from_recipe(recipe, per_epoch)
    return replace(schedule, length=Length(per_epoch, updates))


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("steps", [10, 77, 300])
def test_schedules_are_torchs(schedule: str, steps: int) -> None:
    recipe = Recipe(schedule=schedule, learning_rate=0.4)  # type: ignore[arg-type]
    ours = [learning_rate(schedule_of(recipe, steps, 10), step) for step in range(steps)]
    assert ours == pytest.approx(torchs(schedule, recipe, steps), abs=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear", "constant"])
def test_short_schedules_are_finite(schedule: str, steps: int) -> None:
    recipe = Recipe(schedule=schedule, learning_rate=0.4)  # type: ignore[arg-type]
    rates = [learning_rate(schedule_of(recipe, steps, 1), step) for step in range(steps)]
    assert all(math.isfinite(rate) and 0 <= rate <= 0.4 for rate in rates)


def test_linear_falls_in_a_line_after_the_warm_up() -> None:
    recipe = Recipe(schedule="linear", learning_rate=1.0, warmup_epochs=0.5)
    rates = [learning_rate(schedule_of(recipe, 9, 8), step) for step in range(9)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_the_identity_passes_the_first_channels_on() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.Conv2d(5, 4, 1, bias=False))
    initialize(network, "identity")
    images = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        assert torch.equal(network[0](images)[:, :3], images)
        assert torch.equal(network(images)[:, :3], images)
        assert not torch.equal(network[0](images)[:, 3], images[:, 0])


def test_warm_up_rises_in_a_line() -> None:
    recipe = Recipe(schedule="constant", learning_rate=1.0, warmup_epochs=0.9)
    assert [learning_rate(schedule_of(recipe, 100, 10), step) for step in range(11)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0]
    )


def test_norms_and_biases_are_spared_the_decay() -> None:
    network = create("resnet18_32px", num_classes=3)
    decayed, spared = build_optimizers(network, OptimizerSettings.from_recipe(Recipe()), PLAIN)[0].param_groups
    assert decayed["weight_decay"] == 5e-4
    assert spared["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(network.parameters()))
    (whole,) = build_optimizers(network, OptimizerSettings.from_recipe(Recipe(decay_norms_and_biases=True)), PLAIN)
    assert [len(group["params"]) for group in whole.param_groups] == [len(list(network.parameters()))]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_updates_are_torchs(optimizer: str) -> None:
    """Three updates against a loop written out by hand."""
    recipe = Recipe(optimizer=optimizer, weight_decay=0.1, gradient_clip=0.5, decay_norms_and_biases=True)  # type: ignore[arg-type]
    torch.manual_seed(0)
    ours, theirs = create("lenet"), create("lenet")
    theirs.load_state_dict(ours.state_dict())
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    options = {"sgd": {"momentum": 0.9, "nesterov": True}, "adamw": {}}[optimizer]
    reference = kinds[optimizer](theirs.parameters(), 1e-3, weight_decay=0.1, **options)
    update = Update(ours, OptimizerSettings.from_recipe(recipe), PLAIN)
    images, labels = torch.randn(8, 1, 28, 28), torch.arange(8)
    for _ in range(3):
        update(CrossEntropy()(ours, images, labels)[0], 1e-3)
        reference.zero_grad()
        nn.functional.cross_entropy(theirs(images), labels).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_masked_update_leaves_the_weights_alone() -> None:
    """What an accelerator does with a loss that is not finite, without waiting for it."""
    network = create("lenet")
    before = [parameter.clone() for parameter in network.parameters()]
    update = Update(network, OptimizerSettings.from_recipe(Recipe()), PLAIN)
    update.masks = True
    update(CrossEntropy()(network, torch.full((2, 1, 28, 28), torch.inf), torch.tensor([0, 1]))[0], 0.1)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))


def test_label_smoothing_by_its_formula() -> None:
    logits = torch.randn(4, 5)
    labels = torch.arange(4)
    loss, _ = CrossEntropy(0.2)(nn.Identity(), logits, labels)
    target = nn.functional.one_hot(labels, 5) * 0.8 + 0.2 / 5
    assert float(loss) == pytest.approx(float(-(target * logits.log_softmax(1)).sum(1).mean()), abs=1e-6)


def test_initializations_by_their_formulas() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)
    bias = layer.bias.clone()  # type: ignore[union-attr]
    initialize(layer, "xavier")
    bound = math.sqrt(6 / ((64 + 128) * 9))
    assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
    initialize(layer, "kaiming")
    assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    assert torch.equal(layer.bias, bias)  # type: ignore[arg-type]
