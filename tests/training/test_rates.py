"""The learning-rate finder: it leaves the network alone, can be repeated, and its suggestion trains."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import TrainingError
from lenext.training.rates import find_learning_rate, suggest_rate
from lenext.training.recipe import Recipe

RECIPE = Recipe(batch_size=64, device="cpu", precision="fp32", epochs=2, optimizer="adamw")


def test_the_suggestion_trains_and_the_network_is_left_alone(digits: Dataset) -> None:
    torch.manual_seed(0)
    network = lenext.create("lenet")
    before = [parameter.clone() for parameter in network.parameters()]
    found = find_learning_rate(network, digits, RECIPE, steps=60, highest=1000.0)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))
    assert found == find_learning_rate(network, digits, RECIPE, steps=60, highest=1000.0)
    assert list(found.rates) == sorted(found.rates)
    assert found.rates[0] == 1e-6
    assert found.suggestion in found.rates
    assert len(found.rates) < 60  # it came apart before a rate of 10
    record = list(lenext.fit(network, digits, replace(RECIPE, learning_rate=found.suggestion, epochs=4)))[-1]
    assert record.val_accuracy is not None
    assert record.val_accuracy > 0.6


def test_a_tenth_of_the_lowest_is_found_and_none_is_said() -> None:
    assert suggest_rate([0.1, 0.3, 1, 3, 10, 30], [9.0, 8.0, 7.0, 6.0, 4.5, 20.0]) == 1
    with pytest.raises(TrainingError, match="no learning rate"):
        suggest_rate([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0])


def test_a_network_that_cannot_learn_from_it_is_told(digits: Dataset) -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bias.expand(len(x), 10) * 0

    with pytest.raises(TrainingError, match="no learning rate"):
        find_learning_rate(Deaf(), digits, RECIPE, steps=20)


def test_the_verb_draws_and_suggests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = lenext.lr_find("lenet", "digits", out=tmp_path / "rate.png", device="cpu")
    assert (tmp_path / "rate.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert f"--learning-rate {found.suggestion:.2g}" in said
    assert "the recipe has 0.003" in said
