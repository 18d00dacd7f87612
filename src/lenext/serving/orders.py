"""The orders that a service takes as signals, and the limit of its connections."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Protocol


class Supervised(Protocol):
    """The receiver of the orders.

    Attributes:
        stop_number: The signal that asked for the end; 0 for none.
        wants_reload: Whether new models are asked for.
    """

    stop_number: int
    wants_reload: bool

    def remove_copies(self) -> None:
        """Remove what it keeps on the disk."""

    @property
    def processes(self) -> Sequence[BaseProcess]:
        """Its workers."""


class SignalsCaught:
    """A context in which Ctrl-C and SIGTERM end a service, a second one at once, and SIGHUP reloads its models."""

    def __init__(self, supervisor: "Supervised") -> None:
        self.supervisor = supervisor

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}
        if hasattr(signal, "SIGHUP"):
            self.before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.reload)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def stop(self, number: int, _: FrameType | None) -> None:
        if self.supervisor.stop_number:
            for process in self.supervisor.processes:
                process.kill()
            self.supervisor.remove_copies()
            os._exit(128 + number)
        self.supervisor.stop_number = number

    def reload(self, *_: object) -> None:
        self.supervisor.wants_reload = True


def raise_file_limit() -> None:
    """Allow as many connections as the system lets this user have."""
    if os.name == "nt":  # which has no such limit
        return
    import resource

    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
