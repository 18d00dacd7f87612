"""The number of threads that torch computes with, which the bits of a result depend on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch


def set_thread_count(threads: int | Literal["auto"]) -> int:
    """Set torch's number of threads (`auto` leaves it) and return the number in force."""
    if threads != "auto":
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def restore_thread_count() -> Iterator[None]:
    """Restore torch's number of threads when the block ends."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
