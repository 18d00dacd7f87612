"""Metrics of batches and of epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lenext.foundation.notebook import table_html


@dataclass(frozen=True)
class Record:
    """The metrics of one epoch. Accuracies are fractions, losses plain cross-entropy, whatever was minimized.

    Attributes:
        epoch: From 1.
        seconds: Of training and validation.
        train_loss: Running mean, measured batch by batch in training mode while the weights change.
        train_accuracy: The same.
        val_loss: Of the validation set in evaluation mode; with `ema_decay`, of the averaged weights.
        val_accuracy: The same.
        learning_rate: Mean over the batches.
        evaluated_train_loss: Of the training set in evaluation mode, where the recipe has `evaluate_training`.
        evaluated_train_accuracy: The same.
        skipped_updates: With fp16, updates skipped because its range was exceeded; a few at first are usual.
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
    skipped_updates: int = 0

    def _repr_html_(self) -> str:
        return Records([self]).to_html()

    def is_better_than(self, other: "Record | None") -> bool:
        """Return whether the validation accuracy is higher, or equal with less loss; without validation, True."""
        if other is None or self.val_accuracy is None or other.val_accuracy is None:
            return True
        return (self.val_accuracy, -(self.val_loss or 0)) > (other.val_accuracy, -(other.val_loss or 0))


class Records(list[Record]):
    """The records of a training, one an epoch; in a notebook a table."""

    def to_html(self, best_epoch: int | None = None) -> str:
        """Return a table of the epochs; `best_epoch` is marked."""
        if not self:
            return ""
        accuracies = any(record.val_accuracy is not None for record in self)
        header = ["epoch", "train loss", "train accuracy"]
        header += ["val loss", "val accuracy"] if accuracies else []
        header += ["learning rate", "seconds"]
        rows = []
        for record in self:
            cells = [f"{record.epoch}{' (best)' if record.epoch == best_epoch else ''}"]
            values: list[tuple[float | None, float | None]] = [(record.train_loss, record.train_accuracy)]
            values += [(record.val_loss, record.val_accuracy)] if accuracies else []
            for loss, accuracy in values:
                cells += ["" if loss is None else f"{loss:.4f}", "" if accuracy is None else f"{accuracy:.2%}"]
            rows.append([*cells, f"{record.learning_rate:.3g}", f"{record.seconds:.1f}"])
        return table_html(header, rows)

    def _repr_html_(self) -> str:
        return self.to_html()


def check_record(record: Record) -> Record:
    """Return a record whose values are numbers. Raises TypeError."""
    for name, value in asdict(record).items():
        if not isinstance(value, int | float | None):
            raise TypeError(f"{name} is {value!r}")
    return record


def batch_metrics(logits: Tensor, labels: Tensor, loss: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return plain cross-entropy and the number of correct answers, both as scalars on the device.

    Args:
        logits: (N, K).
        labels: (N,).
        loss: The cross-entropy, when it is known already.
    """
    return F.cross_entropy(logits, labels) if loss is None else loss, (logits.argmax(1) == labels).sum()


def sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the plain cross-entropy (N,) of each sample, from logits (N, K) and labels (N,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


class RunningMetrics:
    """Sums over batches. The values stay on the device until the means are asked for."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.correct: list[Tensor] = []
        self.samples: list[int] = []

    def add(self, loss: Tensor, correct: Tensor, samples: int) -> None:
        """Add a batch: its mean loss, its correct answers, its number of samples."""
        self.losses.append(loss)
        self.correct.append(correct)
        self.samples.append(samples)

    def figures(self) -> list[tuple[float, int, int]]:
        """Return loss, correct answers and samples of each batch; waits for the device."""
        return [
            (float(loss), int(correct), samples)
            for loss, correct, samples in zip(self.losses, self.correct, self.samples, strict=True)
        ]

    @classmethod
    def dealt_out(cls, shares: Sequence[Sequence[tuple[float, int, int]]]) -> "RunningMetrics":
        """Return the metrics of batches that were dealt out to several processes, in order."""
        metrics = cls()
        for figures in chain.from_iterable(zip_longest(*shares)):
            if figures is not None:
                loss, correct, samples = figures
                metrics.add(torch.tensor(loss), torch.tensor(correct), samples)
        return metrics

    def means(self) -> tuple[float, float]:
        """Return loss and accuracy per sample; waits for the device."""
        samples = torch.tensor(self.samples, dtype=torch.float64)
        losses = torch.stack(self.losses).cpu().double()
        return float((losses * samples).sum() / samples.sum()), int(torch.stack(self.correct).sum()) / sum(self.samples)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        if not self.samples:
            return {}
        return {"losses": torch.stack(self.losses), "correct": torch.stack(self.correct), "samples": self.samples[:]}

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        """Continue from a snapshot."""
        if saved:
            self.losses = list(saved["losses"].to(device).unbind())
            self.correct = list(saved["correct"].to(device).unbind())
            self.samples = [int(count) for count in saved["samples"]]
            if not len(self.losses) == len(self.correct) == len(self.samples):
                raise ValueError("the metrics of some steps are missing")
