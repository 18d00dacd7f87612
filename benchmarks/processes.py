"""A step in two processes beside DistributedDataParallel: python -m benchmarks.processes [STEPS].

The same network, batch, optimizer and precision (fp32, channels last, SGD with momentum), one thread a process, gloo.
The contestants take turns in the same two processes; DistributedDataParallel gets tensors that are ready, and lenext
prepares its own. `alone` is one process that computes its half of the batch and tells nobody.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.harness import report
from lenext.data.dataset import Dataset
from lenext.foundation.group import Group
from lenext.models import create
from lenext.training.parts import share_cores
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import TrainingState
from lenext.training.trainer import Trainer

PROCESSES, BATCH, ROUNDS = 2, 128, 7
CASES = {"lenet": (1, 28, 60), "resnet18_32px": (3, 32, 2)}  # network: channels, pixels, steps of a round
KINDS = ("exact", "fast", "DistributedDataParallel", "alone")
LATENCY = 50e-6  # seconds of a message between machines, for the forecast
NETWORKS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}  # bytes a second


def noise(channels: int, size: int, count: int) -> Dataset:
    """Images of noise, ten classes."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=random)
    return Dataset.from_arrays(images.numpy(), (torch.arange(count) % 10).numpy(), name="noise")


def lenext_steps(name: str, reduction: str, group: Group) -> Callable[[int], None]:
    """Return what takes so many of lenext's steps."""
    channels, size, _ = CASES[name]
    recipe = Recipe(
        batch_size=BATCH, epochs=1000, parts=PROCESSES, precision="fp32", optimizer="sgd", learning_rate=0.01,
        schedule="constant", validation_fraction=0.0, test_fraction=0.0, flip=False,
        reduction=reduction,  # type: ignore[arg-type]
    )  # fmt: skip
    data = split_by_recipe(noise(channels, size, 20 * BATCH), recipe)
    torch.manual_seed(0)
    network = create(name, in_channels=channels)
    settings = share_cores(resolve(recipe, data), network, recipe, group)
    settings = replace(settings, machine=replace(settings.machine, replicas=1))
    state = TrainingState.begin(network, settings)
    trainer = Trainer(state, data, settings, group=group)

    def going() -> Iterator[Any]:
        for epoch in range(1, 1001):
            state.progress = type(state.progress)()
            yield from trainer.train_epoch(epoch)

    steps = going()

    def work(count: int) -> None:
        for _ in range(count):
            next(steps)

    return work


def plain_steps(name: str, kind: str, rank: int) -> Callable[[int], None]:
    """Return what takes so many steps of a plain loop on this process's half of a batch."""
    channels, size, _ = CASES[name]
    torch.manual_seed(0)
    network: nn.Module = create(name, in_channels=channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if kind != "alone":
        network = DistributedDataParallel(network)
    half = BATCH // PROCESSES
    images = torch.randn(half, channels, size, size).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(half) + rank) % 10
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True, weight_decay=5e-4, fused=True)

    def work(count: int) -> None:
        for _ in range(count):
            loss = nn.functional.cross_entropy(network(images), labels)
            loss.item()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return work


def contest(rank: int, store: str, found: str) -> None:
    """Be one of the processes; the first writes the seconds of a step, by network and contestant."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=FileStore(store, PROCESSES), rank=rank, world_size=PROCESSES)
    group = Group(rank, PROCESSES, PROCESSES)
    rows: dict[str, dict[str, list[float]]] = {}
    for name, (_, _, steps) in CASES.items():
        work = {
            kind: lenext_steps(name, kind, group) if kind in ("exact", "fast") else plain_steps(name, kind, rank)
            for kind in KINDS
        }
        rows[name] = {kind: [] for kind in KINDS}
        for number in range(ROUNDS + 1):
            for kind in KINDS:
                dist.barrier()
                begun = time.perf_counter()
                work[kind](steps)
                if number:  # the first round warms up
                    rows[name][kind].append((time.perf_counter() - begun) / steps)
    if rank == 0:
        torch.save(rows, found)
    dist.barrier()
    dist.destroy_process_group()


def forecast(name: str, seconds: float) -> dict[str, float]:
    """Return the efficiency on more machines: the step of one, over the same with its exchange.

    Both ways of adding send and receive two vectors a process, whatever their number: exact, a slice of each vector to
    everyone and the sums to all, in messages by the number of processes; fast, twice around a ring.
    """
    size = 4 * sum(parameter.numel() for parameter in create(name, in_channels=CASES[name][0]).parameters())
    return {
        f"{name}: efficiency on {machines} machines, {network}": seconds
        / (seconds + 2 * size * (machines - 1) / machines / speed + 2 * (machines - 1) * LATENCY)
        for machines in (8, 64)
        for network, speed in NETWORKS.items()
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.pt")
        spawn(contest, (str(Path(folder, "store")), str(found)), PROCESSES)
        measured = torch.load(found)
    rows, figures = [], dict[str, Any]()
    for name, kinds in measured.items():
        for kind, times in kinds.items():
            ratios = sorted(one / peer for one, peer in zip(times, kinds["DistributedDataParallel"], strict=True))
            rows.append(
                {
                    "network": name,
                    "step": f"lenext, {kind}" if kind in ("exact", "fast") else kind,
                    "ms a step": 1e3 * median(times),
                    "times that of DDP": median(ratios),
                    "spread": f"{ratios[1]:.2f} to {ratios[-2]:.2f}",
                }
            )
        figures |= forecast(name, median(kinds["alone"]))
    report("processes", rows, figures | {"rounds": ROUNDS, "batch": BATCH})


if __name__ == "__main__":
    CASES.update({name: (*CASES[name][:2], int(sys.argv[1])) for name in CASES} if len(sys.argv) > 1 else {})
    main()
