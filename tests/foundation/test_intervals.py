"""The interval of an accuracy is scipy's."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from scipy.stats import binomtest

from lenext.foundation.intervals import format_interval, wilson_interval


@given(st.integers(1, 10_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilsons_interval_is_scipys(case: tuple[int, int]) -> None:
    hits, count = case
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_48_images_are_few_and_that_is_printed() -> None:
    assert format_interval(45 / 48, 48) == "95 % interval 83.2% to 97.9%"
