"""Contestants beside each other: the images of cost against accuracy."""

from dataclasses import dataclass

from lenext.comparison.outputs import cost_scatters, standing_rows
from lenext.comparison.standings import Standing
from lenext.comparison.trials import Outcome, Trial
from lenext.training.experiment import Experiment
from lenext.workflows.costs import Cost


@dataclass(frozen=True)
class RemoteOutcome(Outcome):
    """An outcome without a run behind it."""

    took: float = 0.0

    @property
    def seconds(self) -> float:
        return self.took


def standing(name: str, accuracy: float, took: float, multiply_adds: int) -> Standing:
    outcome = RemoteOutcome(Trial(name, Experiment()), remote_validation=accuracy, took=took)
    return Standing(name, (outcome,), Cost(1, multiply_adds, 1, 0.1))


def test_a_scatter_is_drawn_where_there_is_something_to_weigh() -> None:
    """Times within a quarter of each other are the machine's, but multiply-adds are exact."""
    some = [standing("a", 0.9, 10.0, 100), standing("b", 0.8, 12.0, 100), standing("c", 0.7, 11.0, 100)]
    assert cost_scatters(some, "validation") == []
    (by_adds,) = cost_scatters([*some, standing("d", 0.6, 12.0, 99)], "validation")
    assert by_adds.title == "Validation accuracy by multiply-adds"
    assert [mark.name for mark in by_adds.marks if mark.filled] == ["a", "d"]
    (by_time,) = cost_scatters([*some, standing("d", 0.95, 20.0, 100)], "validation")
    assert by_time.title == "Validation accuracy by training time"
    assert [mark.name for mark in by_time.marks if mark.filled] == ["a", "d"]
    assert cost_scatters(some, "test") == []  # which was not read


def test_multiply_adds_that_are_not_all_known_are_the_least() -> None:
    counted = Standing("a", (), Cost(1, 2_000_000, 1, 0.1))
    unknown = Standing("b", (), Cost(1, 2_000_000, 1, 0.1, uncounted=True))
    rows = standing_rows([counted, unknown], counted, "validation")
    assert [row["multiply-adds"] for row in rows] == ["2.0 M", "at least 2.0 M"]
