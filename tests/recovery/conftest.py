"""One nursery for all tests of recovery in a process."""

from collections.abc import Iterator

import pytest

from tests.recovery.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()
