"""The learning rate as it is drawn is the one that training used."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lenext
from lenext.data.dataset import Dataset
from lenext.training.loop import events
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.schedule import (
    MAX_CURVE_POINTS,
    is_warming_up,
    learning_rate,
    learning_rate_curve,
    schedule_of_run,
)
from lenext.training.settings import ScheduleSettings, resolve, split_by_recipe
from lenext.training.state import Step, TrainingState

RECIPES: list[dict[str, Any]] = [
    {"epochs": 3},
    {"epochs": 3, "schedule": "cosine", "warmup_epochs": 1.0},
    {"epochs": 2, "schedule": "linear"},
    {"epochs": 2, "schedule": "constant", "steps": 13},
]


def record(epoch: int, rate: float) -> Record:
    return Record(epoch, 1.0, 1.0, 0.5, 1.0, 0.5, rate)


def schedule(recipe: Recipe, batches: int) -> ScheduleSettings | None:
    """The recipe's schedule; none where the number of batches is not known."""
    return ScheduleSettings.from_recipe(recipe, batches) if batches else None


@pytest.mark.parametrize("settings", RECIPES, ids=lambda one: one.get("shape", "one_cycle"))
def test_the_curve_is_what_the_optimizer_used(few: Dataset, settings: dict[str, Any]) -> None:
    recipe = Recipe(batch_size=16, learning_rate=0.08).with_keys(settings)
    data = split_by_recipe(few, recipe)
    resolved = resolve(recipe, data)
    state = TrainingState.begin(lenext.create("lenet"), resolved)
    used, ends, records = list[float](), list[float](), list[Record]()
    batches = resolved.sampling.batches
    for event in events(state, data, resolved):
        if isinstance(event, Record):
            records.append(event)
        elif event.phase == "train":
            assert isinstance(event, Step)
            used.append(event.learning_rate)
            ends.append(event.epoch - 1 + (event.position + 1) / batches)
            assert state.update.optimizers[0].param_groups[0]["lr"] == event.learning_rate
    epochs, rates = learning_rate_curve(schedule(recipe, batches), records)
    assert rates == used
    assert epochs == pytest.approx(ends)
    assert max(rates) == pytest.approx(0.08, rel=0.05)
    if recipe.schedule == "one_cycle":
        highest = round(0.3 * len(used) - 1)
        assert rates.index(max(rates)) == highest
        assert rates[: highest + 1] == sorted(rates[: highest + 1])
        assert rates[highest:] == sorted(rates[highest:], reverse=True)


@given(st.integers(1, 40), st.integers(1, 2000), st.sampled_from(["one_cycle", "cosine", "linear", "constant"]))
def test_a_long_curve_is_short_and_keeps_its_ends_and_its_top(epochs: int, batches: int, shape: str) -> None:
    recipe = Recipe(epochs=epochs, schedule=shape, learning_rate=0.1)
    whole = learning_rate_curve_of_all(recipe, batches)
    records = [
        record(epoch + 1, sum(whole[epoch * batches : (epoch + 1) * batches]) / batches) for epoch in range(epochs)
    ]
    places, rates = learning_rate_curve(schedule(recipe, batches), records)
    assert len(places) == len(rates) == min(len(whole), len(rates))
    assert len(rates) <= MAX_CURVE_POINTS
    assert len(rates) >= min(len(whole), 20)
    assert places == sorted(set(places))
    assert places[-1] == pytest.approx(epochs)
    assert (rates[0], rates[-1], max(rates)) == (whole[0], whole[-1], max(whole))


def learning_rate_curve_of_all(recipe: Recipe, batches: int) -> list[float]:
    known = ScheduleSettings.from_recipe(recipe, batches)
    return [learning_rate(known, update) for update in range(recipe.epochs * batches)]


def test_an_epoch_of_another_schedule_is_its_mean() -> None:
    """As of a run that was resumed with more epochs."""
    recipe = Recipe(epochs=2, schedule="constant", learning_rate=0.1)
    assert learning_rate_curve(schedule(recipe, 2), [record(1, 0.07), record(2, 0.1)]) == (
        [0.5, 1.5, 2.0],
        [0.07, 0.1, 0.1],
    )
    assert learning_rate_curve(schedule(recipe, 0), [record(1, 0.07), record(2, 0.1)]) == ([0.5, 1.5], [0.07, 0.1])
    assert learning_rate_curve(schedule(recipe, 2), []) == ([], [])
    assert schedule_of_run(replace(recipe, batch_size="auto"), 100) is None
    assert schedule_of_run(recipe, 0) is None


@pytest.mark.parametrize(
    ("settings", "rising"),
    [
        ({}, [True, True, False, False]),  # 30 % of 10 epochs are 3
        ({"schedule": "cosine", "warmup_epochs": 2.0}, [True, True, False, False]),
        ({"schedule": "constant"}, [False] * 4),
        ({"epochs": 1}, [False]),
    ],
)
def test_when_the_rate_still_rises(settings: dict[str, Any], rising: list[bool]) -> None:
    recipe = Recipe(learning_rate=0.1).with_keys(settings)
    assert [
        is_warming_up(ScheduleSettings.from_recipe(recipe, 391), epoch) for epoch in range(1, len(rising) + 1)
    ] == rising
