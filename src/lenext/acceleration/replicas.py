"""A batch computed in parts side by side, each by a replica of the network on separate cores.

On a CPU this keeps more of it at work than sharing out each operation: while one replica waits for memory, another one
multiplies. Batch norm is then over a replica's part of the batch (ghost batch norm, Hoffer et al., arXiv:1705.08741).
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import draws_at_random, is_stateless
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError

PartResult = tuple[Tensor, Tensor, tuple[Tensor, ...]]
"""The loss of a part of a batch, its logits, its gradients by parameter."""


class Replicas(nn.Module):
    """A network and its loss as one module, which shares each batch among replicas of the network.

    The replicas share the network's parameters and have separate buffers: these begin each batch as the network's,
    and the network's become their mean. Gradients are the mean over all samples, in one order, so that bits repeat.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]],
        count: int,
        compute: Compute,
    ) -> None:
        """Copy the network.

        Raises:
            ConfigurationError: The network draws random numbers, or has modules that may keep something.
        """
        super().__init__()
        check_replicable(network)
        self.loss, self.compute = loss, compute
        parameters = {id(parameter): parameter for parameter in network.parameters()}
        self.replicas = [network, *(copy.deepcopy(network, dict(parameters)) for _ in range(count - 1))]
        self.buffers_of = [
            [buffer for buffer in replica.buffers() if buffer.is_floating_point()] for replica in self.replicas
        ]
        self.counts_of = [
            [buffer for buffer in replica.buffers() if not buffer.is_floating_point()] for replica in self.replicas
        ]
        workers = min(count, torch.get_num_threads())
        self.threads_each = torch.get_num_threads() // workers
        self.pool = ThreadPoolExecutor(workers, "replica")

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, whose gradients are computed already, and the logits (N, K)."""
        threads = torch.get_num_threads()
        learning = [parameter for parameter in self.replicas[0].parameters() if parameter.requires_grad]
        self.copy_buffers()
        parts = (tensor.tensor_split(len(self.replicas)) for tensor in (images, labels))
        results = list(self.pool.map(partial(self.compute_part, learning), self.replicas, *parts))
        torch.set_num_threads(threads)  # part of it belongs to the process, not to the thread
        shares = [len(logits) / len(labels) for _, logits, _ in results]
        with torch.no_grad():
            (mean_loss,) = weighted_sum([[loss] for loss, _, _ in results], shares)
            gradients = weighted_sum([gradients for _, _, gradients in results], shares)
            self.average_buffers(shares)
        loss: Tensor = PrecomputedGradient.apply(mean_loss, gradients, *learning)  # type: ignore[no-untyped-call]
        return loss, torch.cat([logits for _, logits, _ in results])

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Give all replicas the network's buffers and modes; frozen norms are not in training mode."""
        for replica, buffers, counts in zip(self.replicas[1:], self.buffers_of[1:], self.counts_of[1:], strict=True):
            for module, original in zip(replica.modules(), self.replicas[0].modules(), strict=True):
                module.training = original.training
            if buffers:
                torch._foreach_copy_(buffers, self.buffers_of[0])
            for count, first in zip(counts, self.counts_of[0], strict=True):
                count.copy_(first)

    def average_buffers(self, shares: Sequence[float]) -> None:
        """Make the network's statistics the mean over all replicas; each has counted the batch alike."""
        if self.buffers_of[0]:
            torch._foreach_copy_(self.buffers_of[0], weighted_sum(self.buffers_of, shares))

    def compute_part(
        self, learning: Sequence[Tensor], replica: nn.Module, images: Tensor, labels: Tensor
    ) -> PartResult:
        """Compute a part of the batch, in a thread of the pool.

        Each call sets the thread's number of threads again: part of it belongs to the process, to whoever set it last.
        """
        torch.set_num_threads(self.threads_each)
        with self.compute.autocast(), torch.enable_grad():
            torch.set_autocast_cache_enabled(False)  # it would be one for all threads
            loss, logits = self.loss(replica, images, labels)
        gradients = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
        return loss.detach(), logits.detach(), gradients


class PrecomputedGradient(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        """Keep the gradients."""
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, scaled."""
        return None, None, *torch._foreach_mul(ctx.gradients, upstream)


def weighted_sum(lists: Sequence[Sequence[Tensor]], weights: Sequence[float]) -> list[Tensor]:
    """Return the sum of lists of tensors, each list times its weight, added from the first to the last."""
    total = list(torch._foreach_mul(list(lists[0]), weights[0]))
    for tensors, weight in zip(lists[1:], weights[1:], strict=True):
        torch._foreach_add_(total, list(tensors), alpha=weight)
    return total


def check_replicable(network: nn.Module) -> None:
    """Refuse layers that draw random numbers, whose order among threads would not repeat, and unknown modules."""
    for name, module in network.named_modules():
        if not is_stateless(module):
            raise ConfigurationError(
                f"replicas: {type(module).__name__} may keep or draw something; leave replicas out"
            )
        if draws_at_random(module):
            raise ConfigurationError(f"replicas: {name} drops at random, which would not repeat; leave replicas out")
