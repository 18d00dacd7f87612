"""The group of processes that train one network together: what they exchange, and how a lost one is noticed.

The engine is torch.distributed: gloo on CPUs, nccl on NVIDIA GPUs. Processes are started by torchrun or by
`--processes`; both describe the group in the environment (see `workflows.processes`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lenext.foundation.errors import ConfigurationError, LenextError, LostProcessError, ToldElsewhereError
from lenext.foundation.settings import Reduction

T = TypeVar("T")

LARGE_NUMBERS = 1 << 19  # of a vector, from which gloo's gathering takes longer than messages to each process


class Group:
    """The processes that train together; by default this one alone.

    Attributes:
        rank: The number of this process, from 0; the first one writes the run and prints.
        size: The number of processes.
        local_size: Those of this machine.
        host: The name of this machine.
        attempt: How often the processes were started again.
        launch: Names this start of processes, the same in every attempt; empty without a launcher.
        stop: Is true once this process was asked to stop.
        agreed_to_stop: Whether any process had been asked to stop before the last exchange.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, local_size: int = 1, host: str = "", attempt: int = 0, launch: str = ""
    ) -> None:
        self.rank, self.size, self.local_size, self.host = rank, size, local_size, host
        self.attempt, self.launch = attempt, launch
        self.stop: object = False
        self.agreed_to_stop = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    @property
    def is_stopped(self) -> bool:
        """Whether to stop now; all processes give the same answer after each exchange."""
        return bool(self.stop) if self.size == 1 else self.agreed_to_stop

    def owned(self, count: int, rank: int | None = None) -> range:
        """Return which of `count` parts a process computes: this one, or that of another rank.

        >>> [list(Group(rank, 3).owned(4)) for rank in range(3)]
        [[0, 1], [2], [3]]
        """
        rank = self.rank if rank is None else rank
        return range(-(-rank * count // self.size), -(-(rank + 1) * count // self.size))

    def padded(self, length: int) -> int:
        """Return the length that vectors of `length` numbers must have for `add`: a multiple of the size."""
        return -(-length // self.size) * self.size

    def add(
        self, vectors: Iterable[Tensor], count: int, length: int, device: torch.device, reduction: Reduction = "exact"
    ) -> Tensor:
        """Return the sum of one vector for each of `count` parts; every process gets the same.

        Args:
            vectors: Those of the parts that this process owns, in order.
            count: Of the parts.
            length: Of each vector; it is padded.
            device: Where the vectors are.
            reduction: `exact` adds in the order of the parts, so that the number of processes changes no bit: each
                process gets a slice of every vector, adds these, and sends the sum to all. `fast` adds what each
                process has, then the sums of the processes, in any order.
        """
        if self.size == 1 or reduction == "fast":
            total = add_up(vectors)
            if self.size > 1:
                total = torch.zeros(length, device=device) if total is None else total
                with exchange():
                    dist.all_reduce(total)
            assert total is not None
            return total
        part = length // self.size
        slices = [vector.view(self.size, part) for vector in vectors]
        sent = torch.empty(0, device=device)
        if slices:
            sent = slices[0].flatten() if len(slices) == 1 else torch.stack(slices, 1).flatten()
        received = torch.empty(count * part, device=device)
        theirs = [len(self.owned(count, rank)) * part for rank in range(self.size)]
        with exchange():
            dist.all_to_all_single(received, sent, theirs, [len(slices) * part] * self.size)
        total = torch.empty(self.size, part, device=device)
        add_up(received.view(count, part), out=total[self.rank])
        with exchange():
            self.spread(total)
        return total.flatten()

    def spread(self, total: Tensor) -> None:
        """Give all processes the slice (size, length) that each has: a small one at once, large ones directly."""
        if total.numel() < LARGE_NUMBERS:
            all_gather(total.view(-1), total[self.rank].clone())
            return
        others = [rank for rank in range(self.size) if rank != self.rank]
        messages = [dist.P2POp(dist.isend, total[self.rank], rank) for rank in others]
        messages += [dist.P2POp(dist.irecv, total[rank], rank) for rank in others]
        for message in dist.batch_isend_irecv(messages):
            message.wait()

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with exchange():
            dist.all_gather_object(values, value)
        return values

    def share(self, value: T | None) -> T:
        """Return the value of the first process."""
        values = [value]
        if self.size > 1:
            with exchange():
                dist.broadcast_object_list(values, 0)
        return values[0]  # type: ignore[return-value]

    def together(self, work: Callable[[], T]) -> T:
        """Do the same in every process. Where it fails in one, all end, and one of them says why.

        Raises:
            LenextError: It failed here.
            ToldElsewhereError: Another process reports the error.
        """
        result, error = None, None
        try:
            result = work()
        except LenextError as problem:
            error = problem
        failed = [
            rank for rank, text in enumerate(self.gather(None if error is None else str(error))) if text is not None
        ]
        if failed:
            raise error if error and self.rank == failed[0] else ToldElsewhereError
        return result  # type: ignore[return-value]

    def check_same(self, facts: Mapping[str, object]) -> None:
        """Check that all processes have the same facts, such as versions and samples.

        Raises:
            ConfigurationError: In the first process: they differ.
            ToldElsewhereError: In the others.
        """
        first, *others = self.gather((self.host, dict(facts)))
        differing = [
            f"process {rank} on {host} has {name} {theirs.get(name)}, process 0 on {first[0]} has {first[1].get(name)}"
            for rank, (host, theirs) in enumerate(others, 1)
            for name in first[1] | theirs
            if theirs.get(name) != first[1].get(name)
        ]
        if differing and not self.is_first:
            raise ToldElsewhereError
        if differing:
            raise ConfigurationError(
                f"{'; '.join(differing)}; the processes would not compute the same: make them alike"
            )


all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
"""The first is its name since torch 2.13."""


def add_up(vectors: Iterable[Tensor], out: Tensor | None = None) -> Tensor | None:
    """Return the sum of vectors, added from the first to the last; None without any. It is written into `out`."""
    total = None
    for vector in vectors:
        if total is None:
            total = vector.clone() if out is None else out.copy_(vector)
        else:
            total.add_(vector)
    return total


@contextmanager
def exchange() -> Iterator[None]:
    """Turn the errors of torch.distributed into a LostProcessError."""
    try:
        yield
    except (RuntimeError, torch.distributed.DistError) as error:
        raise LostProcessError(
            f"another process of the group was lost ({' '.join(str(error).split())[:200]})"
        ) from error
