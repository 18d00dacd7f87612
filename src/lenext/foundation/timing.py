"""How long something takes, the device's work included."""

import time
from contextlib import ContextDecorator

import torch


def synchronize(device: torch.device | str | None = None) -> None:
    """Until an accelerator (without a device: the one there is) has done what it was given; a CPU always has."""
    kind = torch.device(device).type if device is not None else ("cuda" if torch.cuda.is_available() else "mps")
    if kind == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize(device)
    elif kind == "mps" and torch.backends.mps.is_available():
        torch.mps.synchronize()


class timed(ContextDecorator):  # noqa: N801, read as a verb
    """Measures a block or, as a decorator, every call of a function; waits for the device before and after (D2).

    times: seconds, one entry a measurement.

    >>> with timed() as timer:
    ...     product = torch.ones(3, 3) @ torch.ones(3, 3)
    >>> timer.seconds > 0
    True
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self.times: list[float] = []
        self.begun: list[float] = []  # a stack, so that a measured function may call itself

    @property
    def seconds(self) -> float:
        """Of the last measurement."""
        return self.times[-1]

    def __enter__(self) -> "timed":
        synchronize(self.device)
        self.begun.append(time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        synchronize(self.device)
        self.times.append(time.perf_counter() - self.begun.pop())
