"""A comparison says beforehand how long it will take, and is set right as its trainings end."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenext.comparison.forecast import Forecast
from lenext.comparison.plan import Contestant, Plan
from lenext.comparison.race import Race, race
from lenext.data.dataset import Dataset
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe
from lenext.workflows.context import Context
from lenext.workflows.costs import Cost, build_jobs, measure_costs

SECONDS = st.floats(0.1, 1e4)


def test_remaining_seconds_by_hand() -> None:
    forecast = Forecast({"a": 10.0, "b": 30.0, "c": None})
    assert forecast.remaining_seconds(["a", "b", "b"]) == 70
    forecast.record_time("a", 12.0)
    assert forecast.remaining_seconds(["b", "b"]) == 64
    forecast.record_time("c", 500.0)  # nothing was expected of it
    forecast.record_time("b", 26.0)
    assert forecast.remaining_seconds(["b"]) == 29
    assert forecast.format_remaining(["b"]) == "about 29 s"
    assert forecast.remaining_seconds(["b", "c"]) is None
    assert forecast.format_remaining(["c"]) == forecast.format_remaining([]) == ""


@given(st.lists(SECONDS, min_size=1, max_size=9), st.floats(0.5, 2), st.floats(0, 50), st.integers(1, 5))
def test_one_round_predicts_the_rest(each: list[float], pace: float, loading: float, rounds: int) -> None:
    """A finished round predicts the others, whatever the machine's pace and the time of loading."""
    names = [str(at) for at in range(len(each))]
    forecast = Forecast(dict(zip(names, each, strict=True)))
    for name, one in zip(names, each, strict=True):
        forecast.record_time(name, pace * one + loading)
    remaining = forecast.remaining_seconds(names * rounds)
    assert remaining is not None
    least = rounds * (pace * sum(each) + loading * len(each))
    assert remaining >= least * (1 - 1e-9)  # a share below zero counts as none
    if pace >= 1:
        assert remaining == pytest.approx(least)


def test_the_time_of_a_training_follows_from_its_epochs_or_steps() -> None:
    cost = Cost(1, 1, 1, 0.1, step=0.5, epoch=60.0, batches=100)
    recipe = Recipe().with_keys({"epochs": 3})
    assert Contestant("a", Experiment(recipe=recipe), cost).seconds == 180
    assert Contestant("a", Experiment(recipe=recipe.with_keys({"steps": 250})), cost).seconds == 150
    assert (
        Contestant("a", Experiment(recipe=recipe.with_keys({"accumulate_batches": 2, "steps": 25})), cost).seconds == 30
    )
    assert Contestant("a", Experiment(recipe=recipe), Cost(1, 1, 1, 0.1)).seconds is None  # a plan from before


def test_a_budget_of_time_is_the_expected_time(digits: Dataset) -> None:
    """The budget is spent to a step; validation comes on top: a ninth of the images at a third of the time."""
    recipe = Recipe().with_keys({"epochs": 1, "validation_fraction": 0.1, "threads": 1})
    experiments = {"lenet": Experiment(network="lenet", data="digits", recipe=recipe.with_defaults())}
    jobs, _ = build_jobs(experiments, digits, Context(offline=True))
    costs = measure_costs(jobs, "in turn")
    contestant = Contestant("lenet", experiments["lenet"], costs["lenet"])
    (one,) = Race(("lenet", "lenet5"), "digits", budget="20s").within_budget([contestant], jobs)
    step = costs["lenet"].step
    assert step is not None
    assert one.seconds is not None
    assert 20 - step <= one.seconds <= 20 * 1.1


def test_the_time_is_printed_and_a_network_that_cannot_be_timed_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common: dict[str, Any] = {"seeds": 2, "epochs": 1, "train_samples": 200, "runs_dir": tmp_path}
    race("lenet", "lenet5", data="digits", **common)
    output = capsys.readouterr().out
    assert "for 4 trainings" in output
    lines = [line for line in output.splitlines() if line.startswith("[")]
    assert ["left" in line for line in lines] == [True, True, True, False]
    race("lenet", "lenet5", data="digits", **common)
    again = capsys.readouterr().out
    assert "left" not in again
    assert "trainings" in again
    assert "time  " not in again  # nothing is left to do
    (tmp_path / "sour.py").write_text(
        "from torch import nn\n\nclass Sour(nn.Module):\n    def __init__(self, num_classes=10, in_channels=1):\n"
        "        super().__init__()\n        self.calls = 0\n"
        "        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "    def forward(self, x):\n        self.calls += self.training\n"
        "        return self.body(x) if self.calls < 2 else {}[0]\n"
    )
    found = race("lenet", f"{tmp_path / 'sour.py'}:Sour", data="digits", image_size=28, **common)
    output = capsys.readouterr().out
    assert found.standings[1].failures
    assert "KeyError" in found.standings[1].failures[0]
    assert "time  " not in output
    assert "left" not in next(line for line in output.splitlines() if line.startswith("[1/4]"))


def test_a_contestant_that_stays_at_chance_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = race("lenet", "lenet5", data="digits", seeds=1, epochs=1, learning_rate=1e-9, batch_size=512,
                 train_samples=600, runs_dir=tmp_path)  # fmt: skip
    guessing = [line for line in found.conclusions if "still guesses" in line]
    expected = [one.name for one in found.standings if all(outcome.is_guessing for outcome in one.outcomes)]
    assert expected
    assert [line.split()[0] for line in guessing] == expected
    assert guessing[0] in capsys.readouterr().out
    assert guessing[0] in found.page.read_text()
    learned = race("lenet", "lenet5", data="digits", seeds=1, epochs=4, runs_dir=tmp_path, quiet=True)
    assert not any("guesses" in line for line in learned.conclusions)
    assert isinstance(Plan.load(learned.path).contestants[0].seconds, float)
