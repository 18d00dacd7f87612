"""Tests of figures and pages draw them."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def figures(drawn_figures: None) -> None:
    """Draw the figures of every test in this folder."""
