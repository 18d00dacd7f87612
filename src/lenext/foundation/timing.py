"""Measure time, including the work of the device."""

import time
from contextlib import ContextDecorator

import torch


def synchronize(device: torch.device | str | None = None) -> None:
    """Wait until an accelerator has done its work; without a device, the one of this machine. A CPU never waits."""
    kind = torch.device(device).type if device is not None else ("cuda" if torch.cuda.is_available() else "mps")
    if kind == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize(device)
    elif kind == "mps" and torch.backends.mps.is_available():
        torch.mps.synchronize()


class timed(ContextDecorator):  # noqa: N801, read as a verb
    """A timer of a block or, as a decorator, of every call of a function; it waits for the device (D2).

    Attributes:
        times: Seconds of each measurement.

    >>> with timed() as timer:
    ...     product = torch.ones(3, 3) @ torch.ones(3, 3)
    >>> timer.seconds > 0
    True
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self.times: list[float] = []
        self.starts: list[float] = []  # a stack, so that a measured function may call itself

    @property
    def seconds(self) -> float:
        """The last measurement, in seconds."""
        return self.times[-1]

    def __enter__(self) -> "timed":
        synchronize(self.device)
        self.starts.append(time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        synchronize(self.device)
        self.times.append(time.perf_counter() - self.starts.pop())
