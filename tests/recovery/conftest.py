"""One fork_server for all tests of recovery in a process."""

from collections.abc import Iterator

import pytest

from tests.recovery.fork_server import ForkServer


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.close()
