"""The state of a training: everything that changes on the way, and its snapshot for a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.seeds import mix_seeds, restore_random_states, save_random_states
from lenext.models.initialization import initialize
from lenext.models.whitening import Whitening
from lenext.training.metrics import Record, RunningMetrics, check_record
from lenext.training.selection import Selection
from lenext.training.settings import Settings
from lenext.training.update import Update

Phase = Literal["features", "train", "validation", "train again"]


@dataclass(frozen=True)
class Step:
    """One batch: its place in training, and its metrics.

    Attributes:
        phase: Features of frozen layers, training, validation, or the training samples measured again.
        epoch: From 1.
        position: Of the batch in its phase, from 0.
        batches: In this phase.
        samples: In this batch.
        loss: Plain cross-entropy, a scalar tensor on the device; reading it waits for the device.
        correct: The number of correct answers, the same.
        learning_rate: Of the batch's update.
    """

    phase: Phase
    epoch: int
    position: int
    batches: int
    samples: int
    loss: Tensor
    correct: Tensor
    learning_rate: float

    @property
    def is_last(self) -> bool:
        """Whether this is the last batch of its phase."""
        return self.position == self.batches - 1


@dataclass
class EpochProgress:
    """The progress of the current epoch.

    Attributes:
        position: The number of batches done.
        seconds: Spent on them.
        learning_rate_sum: Over them.
        skipped_updates: With fp16.
        metrics: Of them.
    """

    position: int = 0
    seconds: float = 0.0
    learning_rate_sum: float = 0.0
    skipped_updates: int = 0
    metrics: RunningMetrics = field(default_factory=RunningMetrics)

    def add(self, step: Step, seconds: float) -> None:
        """Add a batch; `seconds` is the time since the epoch began."""
        self.metrics.add(step.loss, step.correct, step.samples)
        self.position, self.seconds = step.position + 1, seconds
        self.learning_rate_sum += step.learning_rate

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {
            "position": self.position,
            "seconds": self.seconds,
            "learning_rate_sum": self.learning_rate_sum,
            "skipped_updates": self.skipped_updates,
            "metrics": self.metrics.snapshot(),
        }

    @classmethod
    def from_snapshot(cls, saved: Mapping[str, Any], device: torch.device) -> "EpochProgress":
        """Return the progress of a snapshot."""
        progress = cls(
            position=int(saved["position"]),
            seconds=float(saved["seconds"]),
            learning_rate_sum=float(saved["learning_rate_sum"]),
            skipped_updates=int(saved["skipped_updates"]),
        )
        progress.metrics.restore(saved["metrics"], device)
        return progress


@dataclass
class TrainingState:
    """Everything that changes in training.

    Attributes:
        network: What learns.
        compute: Where it is.
        update: The optimizers and the averaged weights.
        epoch: The last epoch that ended.
        best: Its best record so far.
        records: One per epoch.
        progress: Of the current epoch.
        selection: Which samples an epoch takes, when it takes the hardest ones.
    """

    network: nn.Module
    compute: Compute
    update: Update
    epoch: int = 0
    best: Record | None = None
    records: list[Record] = field(default_factory=list)
    progress: EpochProgress = field(default_factory=EpochProgress)
    selection: Selection | None = None

    @classmethod
    def begin(
        cls, network: nn.Module, settings: Settings, sample_images: Callable[[], Tensor] | None = None
    ) -> "TrainingState":
        """Place a network on its device, initialize its weights, and make its optimizers.

        Args:
            network: It is changed in place.
            settings: How it is trained.
            sample_images: Returns training images (N, C, H, W) as the network takes them, to fit whitening layers to.

        Raises:
            ConfigurationError: The network has no parameters that can learn.
        """
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigurationError(f"{type(network).__name__} has no parameters that can learn")
        compute = settings.machine.compute
        if settings.initialization != "default":
            torch.manual_seed(mix_seeds(settings.sampling.seed))
            initialize(network, settings.initialization)
        if sample_images:
            fit_whitening(network, sample_images)
        place_network(network, compute, fast_layers=settings.machine.fast_layers)
        return cls(network, compute, Update(network, settings.optimizer, compute))

    @property
    def trained(self) -> nn.Module:
        """The network that is measured and saved: that of the averaged weights, if there is one."""
        return self.update.average.network if self.update.average else self.network

    def end_epoch(self, record: Record) -> None:
        """Add an epoch's record, which ends the epoch."""
        self.records.append(record)
        if record.is_better_than(self.best):
            self.best = record
        self.epoch, self.progress = record.epoch, EpochProgress()

    def snapshot(self) -> dict[str, Any]:
        """Return everything that training needs to continue exactly: dicts, lists, numbers, text and tensors.

        The tensors are live: copy or write them before the next step.
        """
        return {
            "network": dict(self.network.state_dict()) | dict(self.network.named_buffers()),
            "update": self.update.snapshot(),
            "epoch": self.epoch,
            "best": self.best.epoch if self.best else None,
            "records": [asdict(record) for record in self.records],
            "progress": self.progress.snapshot(),
            "selection": self.selection.snapshot() if self.selection else None,
            "random": save_random_states(self.compute.device),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a snapshot. Raises RunError when a part of it does not fit, or is missing."""
        try:
            restore_network(self.network, saved["network"])
            self.update.restore(saved["update"])
            self.records = [Record(**record) for record in saved["records"]]
            by_epoch: dict[int | None, Record | None] = {None: None}
            by_epoch |= {record.epoch: check_record(record) for record in self.records}
            self.best, self.epoch = by_epoch[saved["best"]], int(saved["epoch"])
            self.progress = EpochProgress.from_snapshot(saved["progress"], self.compute.device)
            position, steps = self.progress.position, len(self.progress.metrics.samples)
            if self.epoch != len(self.records) or position != steps:
                raise ValueError(f"{len(self.records)} records and {steps} steps, but at {self.epoch}, {position}")
            self.selection = Selection.from_snapshot(saved.get("selection"), self.compute.device)
            restore_random_states(saved["random"], self.compute.device)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise RunError(f"the checkpoint does not match this run ({reason})") from error


def fit_whitening(network: nn.Module, sample_images: Callable[[], Tensor]) -> None:
    """Fit the whitening layers that are not fitted yet."""
    for layer in network.modules():
        if isinstance(layer, Whitening) and not bool(layer.fitted):
            layer.fit(sample_images())


@torch.no_grad()
def restore_network(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Restore a network's parameters and all its buffers, including those that its state_dict leaves out."""
    state = network.state_dict()
    buffers = {name: buffer for name, buffer in network.named_buffers() if name not in state}
    if unmatched := saved.keys() ^ (state.keys() | buffers.keys()):
        raise KeyError(f"{sorted(unmatched)[0]} is on one side only")
    network.load_state_dict({name: saved[name] for name in state})
    for name, buffer in buffers.items():
        buffer.copy_(saved[name])
