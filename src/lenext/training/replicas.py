"""A batch computed in parts side by side, each by a replica of the network on cores of its own.

On a CPU this keeps more of it at work than sharing out each operation: while one replica waits for memory, another one
multiplies. Batch norm is then over a replica's part of the batch (ghost batch norm, Hoffer et al., arXiv:1705.08741).
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.training.evaluation import is_stateless
from lenext.training.losses import Loss, Mixing

RANDOM = (nn.RReLU, nn.FractionalMaxPool2d, nn.MultiheadAttention)

Part = tuple[Tensor, Tensor, tuple[Tensor, ...]]
"""The loss of a part, its logits, its gradients by parameter."""


class Replicas(nn.Module):
    """A network and its loss as an Objective: images (N, C, H, W) and labels (N,) to the loss and the logits (N, K).

    The replicas have the network's own parameters, and buffers of theirs: these begin each batch as the network's are,
    and the network's become their mean. Gradients are the mean over all images, in one order, so that bits repeat.
    """

    def __init__(self, network: nn.Module, loss: Loss, count: int, compute: Compute) -> None:
        super().__init__()
        check(network, loss)
        self.loss, self.compute = loss, compute
        shared = {id(one): one for one in network.parameters()}
        self.all = [network, *(copy.deepcopy(network, dict(shared)) for _ in range(count - 1))]
        self.buffers_of = [[one for one in replica.buffers() if one.is_floating_point()] for replica in self.all]
        self.counts_of = [[one for one in replica.buffers() if not one.is_floating_point()] for replica in self.all]
        workers = min(count, torch.get_num_threads())
        self.threads = torch.get_num_threads() // workers  # of each
        self.pool = ThreadPoolExecutor(workers, "replica")

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        threads = torch.get_num_threads()
        learning = [one for one in self.all[0].parameters() if one.requires_grad]
        self.spread()
        shared = (one.tensor_split(len(self.all)) for one in (images, labels))
        parts = list(self.pool.map(partial(self.part, learning), self.all, *shared))
        torch.set_num_threads(threads)  # some of it is the process's, not the thread's
        shares = [len(logits) / len(labels) for _, logits, _ in parts]
        with torch.no_grad():
            (value,) = weighted([[one] for one, _, _ in parts], shares)
            gradients = weighted([one for _, _, one in parts], shares)
            self.gather(shares)
        found: Tensor = Given.apply(value, gradients, *learning)  # type: ignore[no-untyped-call]
        return found, torch.cat([logits for _, logits, _ in parts])

    @torch.no_grad()
    def spread(self) -> None:
        """Give all replicas the network's buffers and modes; norms that are frozen are not in training mode."""
        for replica, buffers, counts in zip(self.all[1:], self.buffers_of[1:], self.counts_of[1:], strict=True):
            for module, original in zip(replica.modules(), self.all[0].modules(), strict=True):
                module.training = original.training
            if buffers:
                torch._foreach_copy_(buffers, self.buffers_of[0])
            for count, first in zip(counts, self.counts_of[0], strict=True):
                count.copy_(first)

    def gather(self, shares: Sequence[float]) -> None:
        """Make the network's statistics the mean of all; what is counted has been counted by each alike."""
        if self.buffers_of[0]:
            torch._foreach_copy_(self.buffers_of[0], weighted(self.buffers_of, shares))

    def part(self, learning: Sequence[Tensor], replica: nn.Module, images: Tensor, labels: Tensor) -> Part:
        """What a replica computes; called by a thread of the pool, which says anew how many threads are its own: a part
        of that is the process's, and whoever asked last has it."""
        torch.set_num_threads(self.threads)
        with self.compute.autocast(), torch.enable_grad():
            torch.set_autocast_cache_enabled(False)  # it would be one for all threads
            value, logits = self.loss(replica, images, labels)
        found = torch.autograd.grad(value, learning, allow_unused=True, materialize_grads=True)
        return value.detach(), logits.detach(), found


class Given(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *torch._foreach_mul(ctx.gradients, upstream)


def weighted(lists: Sequence[Sequence[Tensor]], shares: Sequence[float]) -> list[Tensor]:
    """The sum of lists of tensors, each list times its share, from the first to the last."""
    total = list(torch._foreach_mul(list(lists[0]), shares[0]))
    for tensors, share in zip(lists[1:], shares[1:], strict=True):
        torch._foreach_add_(total, list(tensors), alpha=share)
    return total


def check(network: nn.Module, loss: Loss) -> None:
    """Refuse what draws random numbers, whose order among threads would not repeat, and modules of unknown habits."""
    for name, module in network.named_modules():
        if not is_stateless(module):
            raise ConfigurationError(
                f"replicas: {type(module).__name__} may keep or draw something; leave replicas out"
            )
        rate = getattr(module, "p" if "Dropout" in type(module).__name__ else "drop_path", 0)
        if isinstance(module, RANDOM) or rate > 0:
            raise ConfigurationError(f"replicas: {name} drops at random, which would not repeat; leave replicas out")
    if isinstance(loss, Mixing):
        raise ConfigurationError("replicas: mixup and cutmix draw random numbers; leave replicas out")
