"""freeze_stem_after: a first layer that is held from some epoch on, and learns again for whoever comes next."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from lenext.data.dataset import Dataset
from lenext.models import create
from lenext.training.loop import events, fit
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import TrainingState

RECIPE = Recipe(epochs=4, freeze_stem_after=0.5, train_samples=64, batch_size=32, seed=3)


def stem(network: nn.Module) -> list[Tensor]:
    first = next(one for one in network.modules() if list(one.parameters(recurse=False)))
    return [one.detach().clone() for one in first.parameters(recurse=False)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "muon"}, {"optimizer": "adamw"}, {"replicas": 2}])
def test_the_first_layer_learns_in_its_epochs_alone(digits: Dataset, changes: dict[str, object]) -> None:
    recipe = RECIPE.with_keys(changes)
    network = create("lenet", in_channels=1, num_classes=10)
    data = split_by_recipe(digits, recipe)
    settings = resolve(recipe, data)
    state = TrainingState.begin(network, settings)
    stems, heads = [stem(network)], [network.state_dict()["fc3.weight"].clone()]
    for event in events(state, data, settings):
        if isinstance(event, Record):
            stems.append(stem(network))
            heads.append(network.state_dict()["fc3.weight"].clone())
    moved = [not same(one, other) for one, other in pairwise(stems)]
    assert moved == [True, True, False, False]
    assert not any(torch.equal(one, other) for one, other in pairwise(heads))


def test_a_stem_that_was_held_learns_again_afterwards(digits: Dataset) -> None:
    network = create("lenet", in_channels=1, num_classes=10)
    list(fit(network, digits, RECIPE))
    assert all(one.requires_grad for one in network.parameters())
    data = split_by_recipe(digits, RECIPE)
    settings = resolve(RECIPE, data)
    for event in events(TrainingState.begin(network, settings), data, settings):
        if event.epoch == 3:
            break  # the first layer is held now
    before = stem(network)
    list(fit(network, digits, RECIPE))
    assert not same(before, stem(network))


def test_the_only_layer_that_learns_is_no_stem(digits: Dataset) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    list(fit(network, digits, RECIPE))
    before = [one.detach().clone() for one in network.parameters()]
    list(fit(network, digits, RECIPE.with_keys({"freeze_stem_after": 0})))
    assert not same(before, [one.detach() for one in network.parameters()])
