"""Large networks are freed after each test: hooks tie them into cycles, which Python frees late."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def freed() -> Iterator[None]:
    yield
    gc.collect()
