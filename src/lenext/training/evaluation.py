"""Measuring a network on a split, as fast as the machine can."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.data.batches import batch_slices, batches, load_batch, move_to_device
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.modes import evaluation_mode
from lenext.foundation.settings import TestTimeAugmentation

STATELESS = (
    "torch.nn.",
    "lenext.models.",
    "lenext.acceleration.",
)  # whose modules keep nothing of a forward pass in evaluation mode


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network on a split: probabilities (N, K), true labels (N,), cross-entropy by image (N,); on the CPU."""

    probabilities: Tensor
    labels: Tensor
    losses: Tensor

    @property
    def predicted(self) -> Tensor:
        return self.probabilities.argmax(1)

    @property
    def loss(self) -> float:
        return float(self.losses.double().mean())

    @property
    def accuracy(self) -> float:
        """The fraction of images whose most probable class is the true one."""
        return self.top(1)

    def top(self, k: int) -> float:
        """The fraction of images whose true class is among the k most probable."""
        ranked = self.probabilities.sort(
            dim=1, descending=True, stable=True
        ).indices  # of equals the first, as argmax has it
        return int((ranked[:, :k] == self.labels[:, None]).sum()) / len(self.labels)


def measured_together(prepare: Preprocessing, compute: Compute) -> int:
    """How many images are measured at a time: few enough for a CPU's caches, many enough to keep a device busy."""
    values = 1 << (18 if compute.device.type == "cpu" else 24)
    return max(8, min(1024, 1 << (max(1, values // math.prod(prepare.input_shape)).bit_length() - 1)))


def evaluate_split(
    network: nn.Module, split: Split, prepare: Preprocessing, compute: Compute, tta: TestTimeAugmentation = "none"
) -> Evaluation:
    """Measure a network that is on its device already, each image once, or by the mean over its `tta`."""
    size, split = measured_together(prepare, compute), move_to_device(split, compute)
    with evaluation_mode(network):
        if can_be_shared_out(network, compute):
            scores = torch.cat(list(shared_out(network, split, prepare, compute, size, tta)))
        else:
            made = batches(split, prepare, compute, size)
            scores = torch.cat([answers(network, images, compute, tta) for images, _ in made]).cpu()
    labels = split.labels.cpu()
    losses = F.cross_entropy(scores, labels, reduction="none")
    return Evaluation(scores.softmax(1), labels, losses)


def answers(network: nn.Module, images: Tensor, compute: Compute, tta: TestTimeAugmentation = "none") -> Tensor:
    """The logits (N, K) in fp32; whatever thread it is called from, as modes are a thread's own.

    tta: test-time augmentation. flip: the mean with the mirrored image; shift: half for the image, half for it
    moved by one pixel, up and left or down and right; flip_and_shift: both (Jordan, arXiv:2404.00498).
    """

    def seen(some: Tensor) -> Tensor:
        logits = network(some).float()
        return (logits + network(some.flip(3)).float()) / 2 if "flip" in tta else logits

    with torch.inference_mode(), compute.autocast():
        if "shift" not in tta:
            return seen(images)
        height, width = images.shape[-2:]
        framed = F.pad(images, (1, 1, 1, 1), "reflect")
        moved = (framed[..., at : at + height, at : at + width] for at in (0, 2))
        return seen(images) / 2 + sum(map(seen, moved)) / 4


def is_stateless(module: nn.Module) -> bool:
    """Whether a module is of those that are known."""
    return f"{type(module).__module__}.".startswith(STATELESS)


def can_be_shared_out(network: nn.Module, compute: Compute) -> bool:
    """Whether each thread may compute batches of its own: on a CPU, with modules that are known to bear it and have no
    hooks."""
    modules = list(network.modules())
    known = all(map(is_stateless, modules))
    known &= not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    return known and compute.device.type == "cpu" and torch.get_num_threads() > 1


def shared_out(
    network: nn.Module, split: Split, prepare: Preprocessing, compute: Compute, size: int, tta: TestTimeAugmentation
) -> Iterator[Tensor]:
    """The logits of each batch, in order; every thread prepares and computes one alone, which serves small networks
    better than all threads on the same one. A few batches are under way at a time, so that memory stays flat."""

    def work(some: slice) -> Tensor:
        return answers(network, load_batch(split, prepare, compute, some)[0], compute, tta)

    workers = torch.get_num_threads()
    waiting: deque[Future[Tensor]] = deque()
    try:
        for some in batch_slices(len(split), size):
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
            waiting.append(single_threads(workers).submit(work, some))
        while waiting:
            yield waiting.popleft().result()
    finally:  # after an error nothing goes on behind the caller's back, and new threads get what they had
        for one in waiting:
            one.cancel()
        wait(waiting)
        torch.set_num_threads(workers)


@cache
def single_threads(workers: int) -> ThreadPoolExecutor:
    """Threads whose arithmetic takes one core each; made once."""
    return ThreadPoolExecutor(workers, "measuring", lambda: torch.set_num_threads(1))
