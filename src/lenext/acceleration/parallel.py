"""Batches computed side by side on a CPU, each by one thread.

This serves small networks better than all threads on the same batch.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import is_stateless
from lenext.foundation.device import Compute

BATCHES_PER_WORKER = 2  # under way at a time, so that memory stays flat


def can_run_in_parallel(network: nn.Module, compute: Compute, workers: int) -> bool:
    """Return whether so many threads may run a network at once: on a CPU, with known modules and no hooks."""
    modules = list(network.modules())
    is_known = all(map(is_stateless, modules))
    has_hooks = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    return is_known and not has_hooks and compute.device.type == "cpu" and workers > 1


def map_in_parallel(work: Callable[[slice], Tensor], parts: Sequence[slice], workers: int) -> Iterator[Tensor]:
    """Yield the results of a function of a part, in order, computed by so many threads."""
    threads = torch.get_num_threads()
    pending: deque[Future[Tensor]] = deque()
    try:
        for part in parts:
            if len(pending) == BATCHES_PER_WORKER * workers:
                yield pending.popleft().result()
            pending.append(single_threads(workers).submit(work, part))
        while pending:
            yield pending.popleft().result()
    finally:  # after an error nothing continues in the background, and new threads get the old number of threads
        for future in pending:
            future.cancel()
        wait(pending)
        torch.set_num_threads(threads)


@cache
def single_threads(workers: int) -> ThreadPoolExecutor:
    """Return threads whose arithmetic takes one core each; they are made once."""
    return ThreadPoolExecutor(workers, "measuring", lambda: torch.set_num_threads(1))
