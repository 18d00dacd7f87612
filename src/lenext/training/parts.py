"""A batch in fixed parts: threads and processes compute them, and their number changes no bit of the result.

Each part's gradients and batch norm statistics are computed by themselves, on one thread of a CPU, and added in the
order of the parts. Batch norm is then over a part (ghost batch norm, Hoffer et al., arXiv:1705.08741). On a CPU this
also keeps more of it at work than sharing out each operation: while one part waits for memory, another one multiplies.
"""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import draws_at_random, is_stateless
from lenext.acceleration.threads import available_cores
from lenext.data.batches import Batch
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.group import Group
from lenext.foundation.seeds import mix_seeds, seed_step
from lenext.training.losses import Loss, Mixing, batch_weight
from lenext.training.metrics import sample_losses
from lenext.training.part_vector import Layout, PrecomputedGradient
from lenext.training.recipe import Recipe
from lenext.training.settings import MachineSettings, Settings

MIN_SAMPLES = 2  # of a part, as batch norm over one fails


def part_slices(samples: int, parts: int) -> list[slice]:
    """Return the slices of a batch's parts. A small last batch has fewer, so that each has two samples.

    >>> part_slices(11, 3)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 11, None)]
    """
    count = max(1, min(parts, samples // MIN_SAMPLES))
    small, larger = divmod(samples, count)
    ends = [number * small + min(number, larger) for number in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


class StepResult(NamedTuple):
    """The result of a step.

    Attributes:
        loss: What is minimized; its backward pass gives the gradients.
        mean_loss: Plain cross-entropy, a scalar on the device.
        correct: The number of correct answers, the same.
        losses: Plain cross-entropy by sample (N,); None where nobody asks for it.
    """

    loss: Tensor
    mean_loss: Tensor
    correct: Tensor
    losses: Tensor | None


class Parts:
    """A network and its loss, which compute a batch part by part, in threads and in the processes of a group."""

    def __init__(self, network: nn.Module, loss: Loss, machine: MachineSettings, group: Group | None = None) -> None:
        """Copy the network, once for each thread.

        Args:
            network: What is trained.
            loss: What is minimized.
            machine: The number of parts and of replicas, and how gradients are added.
            group: The processes that share each batch; this one alone by default.

        Raises:
            ConfigurationError: Threads cannot share the network, or its numbers cannot be added.
        """
        self.network, self.loss, self.machine, self.group = network, loss, machine, group or Group()
        check_numbers(network)
        if machine.replicas > 1:
            check_replicable(network)
        self.draws = any(map(draws_at_random, network.modules()))
        shared = {id(parameter): parameter for parameter in network.parameters()}
        self.copies = [copy.deepcopy(network, dict(shared)) for _ in range(machine.replicas - 1)]
        self.free: SimpleQueue[nn.Module] = SimpleQueue()
        for replica in (network, *self.copies):
            self.free.put(replica)
        self.pool = ThreadPoolExecutor(machine.replicas, "replica", lambda: torch.set_num_threads(1))

    def __call__(self, batch: Batch, labels: Tensor, seed: int) -> StepResult:
        """Compute the loss of a batch and its gradients.

        Args:
            batch: The samples of this process's own parts.
            labels: Those of the whole batch (N,), on the device.
            seed: Of what the network and its loss draw in this step.
        """
        slices = part_slices(len(labels), self.machine.parts)
        own = self.group.owned(len(slices))
        weights = torch.stack([batch_weight(self.loss, labels[samples]) for samples in slices])
        layout = Layout(self.network, len(labels), weights / weights.sum())
        self.copy_modes()
        try:
            vectors = self.vectors(batch, [(number, slices[number]) for number in own], layout, seed)
            length = self.group.padded(layout.length)
            total = self.group.add(vectors, len(slices), length, labels.device, self.machine.reduction)
        except BaseException:
            layout.restore(self.network)
            raise
        self.group.agreed_to_stop = self.group.size > 1 and bool(total[layout.stop] > 0)
        layout.write_buffers(self.network, total)
        loss: Tensor = PrecomputedGradient.apply(  # type: ignore[no-untyped-call]
            total[layout.loss].clone(), layout.gradients(total), *layout.learning
        )
        losses = total[layout.losses]
        return StepResult(loss, losses.mean(), total[layout.correct], losses)

    def copy_modes(self) -> None:
        """Give the replicas the network's modes; frozen norms are not in training mode."""
        for replica in self.copies:
            for module, original in zip(replica.modules(), self.network.modules(), strict=True):
                module.training = original.training

    def vectors(self, batch: Batch, parts: Sequence[tuple[int, slice]], layout: Layout, seed: int) -> Iterator[Tensor]:
        """Yield the vectors of this process's parts, in order; as many are under way as there are replicas."""
        pending: deque[Future[Tensor]] = deque()
        first = parts[0][1].start if parts else 0
        try:
            for number, samples in parts:
                inside = slice(samples.start - first, samples.stop - first)
                images, labels = batch.images[inside], batch.labels[inside]
                seed_step(mix_seeds(seed, number), images.device)
                targets = labels
                if isinstance(self.loss, Mixing):  # here, as threads would draw in any order
                    images, targets = self.loss.mix(images, labels)
                work = partial(self.compute, layout, number, samples, images, labels, targets)
                if self.machine.replicas == 1:
                    yield work()
                    continue
                pending.append(self.pool.submit(work))
                if len(pending) > self.machine.replicas:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            wait(pending)

    def compute(
        self, layout: Layout, number: int, samples: slice, images: Tensor, labels: Tensor, targets: Tensor
    ) -> Tensor:
        """Return the vector of a part.

        Args:
            layout: What is where in the vector.
            number: Of the part.
            samples: Of the part, in the batch.
            images: Of the part (n, C, H, W).
            labels: Their classes (n,).
            targets: The same, or mixed (n, K).
        """
        replica = self.free.get()
        try:
            layout.restore(replica)
            loss_of = self.loss.loss if isinstance(self.loss, Mixing) else self.loss
            with self.machine.compute.autocast(), torch.enable_grad():
                torch.set_autocast_cache_enabled(False)  # it would be one for all threads
                loss, logits = loss_of(replica, images, targets)
            gradients = torch.autograd.grad(loss, layout.learning, allow_unused=True, materialize_grads=True)
            with torch.no_grad():
                vector = layout.vector(self.group.padded(layout.length), number, samples, replica, gradients)
                vector[layout.stop] = float(bool(self.group.stop))
                vector[layout.loss] = loss * layout.shares[number]
                logits = logits.detach()
                vector[layout.correct] = (logits.argmax(1) == labels).sum()
                vector[layout.losses][samples] = sample_losses(logits, labels)
            return vector
        finally:
            self.free.put(replica)


def check_parts(parts: int, batch_size: int, processes: int) -> None:
    """Refuse parts that are too small, and processes that would have none."""
    if processes > parts:
        raise ConfigurationError(
            f"{processes} processes, but parts={parts}: one process needs a part of each batch at least; "
            f"start {parts} processes, or give more parts to a new run"
        )
    if batch_size < MIN_SAMPLES * parts:
        raise ConfigurationError(
            f"parts={parts}: batches of {batch_size} are too small; each part needs {MIN_SAMPLES} images"
        )


def check_numbers(network: nn.Module) -> None:
    """Refuse parameters and buffers that a part's vector of float32 cannot hold."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ConfigurationError(f"parts: {name} is {kind}, but parts are added in float32; leave parts out")


def check_replicable(network: nn.Module) -> None:
    """Refuse layers that draw random numbers, whose order among threads would not repeat, and unknown modules."""
    for name, module in network.named_modules():
        if not is_stateless(module):
            raise ConfigurationError(
                f"replicas: {type(module).__name__} may keep or draw something; leave replicas out"
            )
        if draws_at_random(module):
            raise ConfigurationError(f"replicas: {name} drops at random, which would not repeat; leave replicas out")


def share_cores(settings: Settings, network: nn.Module, recipe: Recipe, group: Group | None = None) -> Settings:
    """Return the settings with the number of parts that this process computes at the same time.

    With parts, torch gets one thread in all else as well, so that no bit depends on the number of cores.

    Args:
        settings: The recipe, resolved.
        network: One that draws at random, or has user-defined modules, is computed by one thread.
        recipe: How to train; with `replicas=auto` as many as there are cores for.
        group: The processes, which share the cores of a machine; this one alone by default.

    Raises:
        ConfigurationError: Replicas that have no effect, or that the network cannot be computed by.
    """
    machine, group, replicas, threads = settings.machine, group or Group(), recipe.replicas, recipe.threads
    if machine.parts == 1 and group.size == 1:
        if replicas not in ("auto", 1):
            raise ConfigurationError(f"replicas={replicas}: each batch is one part; give parts={replicas}, or more")
        if machine.reduction != "exact":
            raise ConfigurationError(f"reduction={machine.reduction}: each batch is one part; leave it out")
        return settings
    check_parts(machine.parts, settings.sampling.batch_size, group.size)
    own = -(-machine.parts // group.size)
    kind = machine.compute.device.type
    if kind == "mps" and group.size > 1:
        raise ConfigurationError("device=mps: several processes train on CPUs or NVIDIA GPUs; give device=cpu")
    if kind == "cuda" and group.local_size > torch.cuda.device_count():
        raise ConfigurationError(
            f"{group.local_size} processes on {torch.cuda.device_count()} GPUs: each needs one; start fewer, or give "
            "device=cpu"
        )
    if kind != "cpu":
        if replicas not in ("auto", 1):
            raise ConfigurationError(f"replicas={replicas}: they are for a CPU; leave them out")
        return settings
    if threads not in ("auto", 1):
        raise ConfigurationError(f"threads={threads}: each part has one thread; leave it out, or give replicas")
    torch.set_num_threads(1)
    is_plain = all(is_stateless(module) and not draws_at_random(module) for module in network.modules())
    most = max(1, available_cores() // group.local_size) if is_plain else 1
    return replace(settings, machine=replace(machine, replicas=min(most if replicas == "auto" else replicas, own)))
