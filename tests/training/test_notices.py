import math

import pytest

from lenext.training.notices import chance_notice
from lenext.training.recipe import Recipe
from lenext.training.state import Record


def record(epoch: int, accuracy: float, loss: float) -> Record:
    return Record(epoch, 1.0, loss, accuracy, loss, accuracy, 0.1)


@pytest.mark.parametrize("epochs", [1, 2])
def test_chance_is_told_within_two_epochs_with_what_to_do(epochs: int) -> None:
    """VGG-11 in D4: 9.95 and 9.98 % after the first two epochs, at a loss of ln 10."""
    records = [record(epoch, 0.0998, math.log(10)) for epoch in range(1, epochs + 1)]
    said = chance_notice(records, 0.1, 10, Recipe(learning_rate=0.1), normed=False)
    for words in (
        "still guesses",
        "10% is chance",
        "learning_rate other than 0.1",
        "batch norm",
        "initialization=kaiming",
    ):
        assert words in said
    assert "batch norm" not in chance_notice(records, 0.1, 10, Recipe(), normed=True)


def test_what_learns_is_left_alone() -> None:
    assert chance_notice([record(1, 0.18, 2.2)], 0.1, 10, Recipe(), normed=False) == ""
    assert chance_notice([record(1, 0.1, 2.3), record(2, 0.4, 1.7)], 0.1, 10, Recipe(), normed=False) == ""
    assert chance_notice([record(n, 0.1, 2.3) for n in (1, 2, 3)], 0.1, 10, Recipe(), normed=False) == ""
