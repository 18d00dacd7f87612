"""Measuring a network on a split, as fast as the machine can."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.acceleration.parallel import can_run_in_parallel, map_in_parallel
from lenext.data.batches import batch_slices, load_batch, move_to_device, some_batches
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.arithmetic import power_of_two
from lenext.foundation.device import Compute
from lenext.foundation.group import Group
from lenext.foundation.intervals import format_interval
from lenext.foundation.modes import evaluation_mode
from lenext.foundation.notebook import tiles_html
from lenext.foundation.settings import TestTimeAugmentation

CPU_VALUES, DEVICE_VALUES = 1 << 18, 1 << 24  # input values per batch: what a CPU's caches hold, what keeps a GPU busy
MIN_BATCH, MAX_BATCH = 8, 1024


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of a network for a split, on the CPU.

    Attributes:
        probabilities: (N, K).
        labels: The true classes (N,).
        losses: Cross-entropy by sample (N,).
    """

    probabilities: Tensor
    labels: Tensor
    losses: Tensor

    def _repr_html_(self) -> str:
        interval = f"accuracy; {format_interval(self.accuracy, len(self.labels))}"
        figures = [
            (f"{self.accuracy:.2%}", interval),
            (f"{self.loss:.4f}", "loss"),
            (f"{len(self.labels):,}", "images"),
        ]
        return tiles_html(figures)

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each sample (N,)."""
        return self.probabilities.argmax(1)

    @property
    def loss(self) -> float:
        """The mean cross-entropy."""
        return float(self.losses.double().mean())

    @property
    def accuracy(self) -> float:
        """The fraction of samples whose most probable class is the true one."""
        return self.top(1)

    def top(self, k: int) -> float:
        """Return the fraction of samples whose true class is among the k most probable; of equals the first counts."""
        ranked = self.probabilities.sort(dim=1, descending=True, stable=True).indices
        return int((ranked[:, :k] == self.labels[:, None]).sum()) / len(self.labels)


def evaluation_batch_size(images: Preprocessing, compute: Compute) -> int:
    """Return the number of samples measured at a time."""
    values = CPU_VALUES if compute.device.type == "cpu" else DEVICE_VALUES
    return max(MIN_BATCH, min(MAX_BATCH, power_of_two(values // math.prod(images.input_shape))))


def evaluate_split(
    network: nn.Module,
    split: Split,
    images: Preprocessing,
    compute: Compute,
    tta: TestTimeAugmentation = "none",
    *,
    workers: int = 0,
    group: Group | None = None,
) -> Evaluation:
    """Measure a network that is on its device already.

    Args:
        network: From images (N, C, H, W) to logits (N, K); its mode is left as it was.
        split: The samples.
        images: How they reach the network.
        compute: Where it is.
        tta: Test-time augmentation.
        workers: Threads of a CPU, each of which computes whole batches; 0 for torch's number.
        group: The processes that share the batches; every one gets all predictions. This one alone by default.
    """
    split, group = move_to_device(split, compute), group or Group()
    parts = evaluation_slices(split, images, compute)[group.rank :: group.size]
    with evaluation_mode(network):
        own = list(logits_of_parts(network, split, parts, images, compute, tta, workers))
    if group.size == 1:
        scores = torch.cat(own).cpu()
    else:
        dealt = group.gather([logits.cpu().numpy() for logits in own])
        in_order = chain.from_iterable(zip_longest(*dealt))
        scores = torch.cat([torch.from_numpy(logits) for logits in in_order if logits is not None])
    labels = split.labels.cpu()
    losses = F.cross_entropy(scores, labels, reduction="none")
    return Evaluation(scores.softmax(1), labels, losses)


def evaluation_slices(split: Split, images: Preprocessing, compute: Compute) -> list[slice]:
    """Return the batches in which a split is measured."""
    return batch_slices(len(split), evaluation_batch_size(images, compute))


def logits_of_parts(
    network: nn.Module,
    split: Split,
    parts: Sequence[slice],
    images: Preprocessing,
    compute: Compute,
    tta: TestTimeAugmentation = "none",
    workers: int = 0,
) -> Iterator[Tensor]:
    """Yield the logits of batches of a split, in order; on a CPU each thread computes whole batches."""
    workers = workers or torch.get_num_threads()
    if not can_run_in_parallel(network, compute, workers):
        for batch in some_batches(split, parts, images, compute):
            yield predict_logits(network, batch.images, compute, tta)
        return

    def work(part: slice) -> Tensor:
        return predict_logits(network, load_batch(split, images, compute, part).images, compute, tta)

    yield from map_in_parallel(work, parts, workers)


def predict_logits(network: nn.Module, images: Tensor, compute: Compute, tta: TestTimeAugmentation = "none") -> Tensor:
    """Return the logits (N, K) in fp32, from any thread.

    Args:
        network: In evaluation mode.
        images: (N, C, H, W).
        compute: Where both are.
        tta: Test-time augmentation. flip: the mean with the mirrored image. shift: half for the image, half for it
            moved by one pixel, up and left or down and right. flip_and_shift: both (Jordan, arXiv:2404.00498).
    """

    def with_flip(view: Tensor) -> Tensor:
        logits = network(view).float()
        return (logits + network(view.flip(3)).float()) / 2 if "flip" in tta else logits

    with torch.inference_mode(), compute.autocast():
        if "shift" not in tta:
            return with_flip(images)
        height, width = images.shape[-2:]
        padded = F.pad(images, (1, 1, 1, 1), "reflect")
        shifted = (padded[..., start : start + height, start : start + width] for start in (0, 2))
        return with_flip(images) / 2 + sum(map(with_flip, shifted)) / 4
