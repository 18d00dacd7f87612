"""What training changes, and what it tells as it goes."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from lenext.foundation.device import Compute, use_threads
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.seeds import mixed
from lenext.training.optim import Update, initialize
from lenext.training.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """After an update, or after a batch of validation: where it is and how the batch went.

    position of batches, counted from 0; loss is plain cross-entropy, a scalar tensor on the device, and correct how
    many of `samples` were right (a tensor too): reading them waits for the device.
    """

    phase: Literal["train", "validation"]
    epoch: int
    position: int
    batches: int
    samples: int
    loss: Tensor
    correct: Tensor
    learning_rate: float


@dataclass(frozen=True)
class Record:
    """One epoch's figures; accuracies are fractions, losses plain cross-entropy, whatever was minimised.

    train_loss and train_accuracy are running means: measured in training mode, batch by batch, while the weights
    change. Where the recipe has `evaluate_training`, the same pictures are measured once more at the end of the epoch,
    in evaluation mode: evaluated_train_loss and evaluated_train_accuracy. learning_rate is its mean over the steps.
    """

    epoch: int
    seconds: float
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    evaluated_train_loss: float | None = None
    evaluated_train_accuracy: float | None = None

    def better_than(self, other: "Record | None") -> bool:
        """Higher validation accuracy, ties by loss; without validation the later one."""
        if other is None or self.val_accuracy is None or other.val_accuracy is None:
            return True
        return (self.val_accuracy, -(self.val_loss or 0)) > (other.val_accuracy, -(other.val_loss or 0))


@dataclass
class TrainingState:
    """All that changes: the network, its optimizer, where training is, the best record so far."""

    network: nn.Module
    compute: Compute
    update: Update
    epoch: int = 0
    best: Record | None = None
    records: list[Record] = field(default_factory=list)

    @classmethod
    def begin(cls, network: nn.Module, recipe: Recipe) -> "TrainingState":
        """Place the network on its device, draw its weights anew if the recipe says so, and make its optimizer."""
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigurationError(f"{type(network).__name__} has no parameters that can learn")
        use_threads(recipe.threads)
        compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
        if recipe.initialization != "default":
            torch.manual_seed(mixed(recipe.seed))
            initialize(network, recipe.initialization)
        compute.place(network)
        return cls(network, compute, Update(network, recipe, compute))

    @property
    def trained(self) -> nn.Module:
        """What is measured and kept: the averaged weights where there are any, else the network."""
        return self.update.average.network if self.update.average else self.network

    def add(self, record: Record) -> None:
        """Take in an epoch's figures."""
        self.records.append(record)
        if record.better_than(self.best):
            self.best = record
        self.epoch = record.epoch


class Totals:
    """Sums over batches; the figures stay on the device, one by one, until the sums are asked for."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.correct: list[Tensor] = []
        self.samples: list[int] = []

    def add(self, loss: Tensor, correct: Tensor, samples: int) -> None:
        self.losses.append(loss)
        self.correct.append(correct)
        self.samples.append(samples)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy by picture; waits for the device."""
        samples = torch.tensor(self.samples, dtype=torch.float64)
        losses = torch.stack(self.losses).cpu().double()
        return float((losses * samples).sum() / samples.sum()), int(torch.stack(self.correct).sum()) / sum(self.samples)
