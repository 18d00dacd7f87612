"""Statistics over seeds are those of the textbook."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from lenext.comparison.statistics import (
    Difference,
    describe_difference,
    paired_difference,
    pareto_front,
    standard_deviation,
)
from lenext.foundation.errors import ConfigurationError
from lenext.workflows.budget import Budget

FIGURES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8)


@given(FIGURES)
def test_intervals_are_those_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (dict(enumerate(some)) for some in zip(*pairs, strict=True))
    result = paired_difference(ours, theirs)
    assert result is not None
    differences = np.subtract(*map(np.array, zip(*pairs, strict=True)))
    assert result.mean == pytest.approx(differences.mean(), abs=1e-12)
    if differences.std() > 1e-9:
        low, high = ttest_rel(list(ours.values()), list(theirs.values())).confidence_interval(0.95)
        assert (result.mean - result.half_width, result.mean + result.half_width) == pytest.approx(
            (low, high), rel=1e-6, abs=1e-9
        )


def test_pairs_are_made_by_seed() -> None:
    result = paired_difference({0: 0.5, 1: 0.7, 5: 0.1}, {1: 0.6, 0: 0.3, 2: 0.9})
    assert result is not None
    assert (result.pairs, round(result.mean, 12)) == (2, 0.15)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({0: 0.5}, {0: 0.25}) == Difference(0.25, None, 1)
    assert standard_deviation([1.0]) is None


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (Difference(0.012, 0.003, 3), "a is better than b by 1.20 ± 0.30 points of test accuracy"),
        (Difference(-0.012, 0.003, 3), "b is better than a by 1.20 ± 0.30 points of test accuracy"),
        (Difference(-0.012, None, 1), "b is 1.20 points of test accuracy above a with one seed"),
        (Difference(0.012, 0.03, 3), "a and b cannot be told apart: 1.20 ± 3.00 points"),
        (Difference(0.012, None, 1), "with one seed, which says nothing of chance"),
    ],
)
def test_sentences_say_no_more_than_the_figures(difference: Difference, expected: str) -> None:
    assert expected in describe_difference("a", "b", difference, "test accuracy")


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=9))
def test_the_pareto_front_by_brute_force(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    for at, (cost, value) in enumerate(points):
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        twin = points.index((cost, value)) if (cost, value) in points else at
        assert (at in front) == (not beaten and (at == twin))


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [("90s", "seconds", 90), ("5m", "seconds", 300), ("1.5h", "seconds", 5400), ("30T", "multiply-adds", 3e13),
     ("2e3G", "multiply-adds", 2e12)],
)  # fmt: skip
def test_budgets(text: str, kind: str, amount: float) -> None:
    result = Budget.parse(text)
    assert (result.kind, result.amount) == (kind, amount)


@pytest.mark.parametrize("text", ["1e308h", "5", "m", "-5m", "0s", "5 weeks", "1e999h", "nanm", "5M"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a time \\(90s, 5m, 1h\\) or multiply-adds"):
        Budget.parse(text)


@given(st.integers(1, 10**6), st.floats(1e-4, 10), st.floats(1e5, 1e13), st.sampled_from(["1s", "1T"]))
@example(53_230, 1.0, 1e7, "1T")  # 532.3T, as a number, is a little less than 53,230 times 10 million
@example(987_655, 1.0, 1.00001e13, "1T")  # more digits than six
def test_the_least_budget_named_is_enough(steps: int, step: float, adds: float, text: str) -> None:
    budget = Budget.parse(text)
    enough = Budget.parse(budget.format_cost(steps, budget.cost(step, adds)))
    assert enough.count_steps(enough.cost(step, adds)) >= steps
    assert enough.amount <= 1.12 * max(
        steps * (step if budget.kind == "seconds" else adds), 10 if text == "1s" else 1e10
    )
