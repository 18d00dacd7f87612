"""What training changes, and what it tells as it goes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.acceleration.threads import set_thread_count
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.seeds import mix_seeds, restore_random_states, save_random_states
from lenext.models.whitening import Whitening
from lenext.training.optim import Update, initialize
from lenext.training.recipe import Recipe
from lenext.training.selection import Selection


@dataclass(frozen=True)
class Step:
    """After a batch of training, of validation, or of the training images measured again: where it is, how it went.

    position of batches, counted from 0; loss is plain cross-entropy, a scalar tensor on the device, and correct how
    many of `samples` were right (a tensor too): reading them waits for the device.
    """

    phase: Literal["train", "validation", "train again"]
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
    change. Where the recipe has `evaluate_training`, the same images are measured once more at the end of the epoch,
    in evaluation mode: evaluated_train_loss and evaluated_train_accuracy. learning_rate is its mean over the steps.
    skipped_updates: with fp16, those left out because its range was exceeded; a few at the beginning are usual.
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

    def better_than(self, other: "Record | None") -> bool:
        """Higher validation accuracy, ties by loss; without validation the later one."""
        if other is None or self.val_accuracy is None or other.val_accuracy is None:
            return True
        return (self.val_accuracy, -(self.val_loss or 0)) > (other.val_accuracy, -(other.val_loss or 0))


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
        """Loss and accuracy by image; waits for the device."""
        samples = torch.tensor(self.samples, dtype=torch.float64)
        losses = torch.stack(self.losses).cpu().double()
        return float((losses * samples).sum() / samples.sum()), int(torch.stack(self.correct).sum()) / sum(self.samples)

    def snapshot(self) -> dict[str, Any]:
        if not self.samples:
            return {}
        return {"losses": torch.stack(self.losses), "correct": torch.stack(self.correct), "samples": self.samples[:]}

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        if saved:
            self.losses = list(saved["losses"].to(device).unbind())
            self.correct = list(saved["correct"].to(device).unbind())
            self.samples = [int(count) for count in saved["samples"]]
            if not len(self.losses) == len(self.correct) == len(self.samples):
                raise ValueError("figures of some steps are lacking")


@dataclass
class Underway:
    """The epoch that has begun: how many of its batches are done, in how many seconds, with which figures.

    rates: the sum of their learning rates; left_out: updates that were left out.
    """

    position: int = 0
    seconds: float = 0.0
    rates: float = 0.0
    left_out: int = 0
    totals: Totals = field(default_factory=Totals)


@dataclass
class TrainingState:
    """All that changes: the network, its optimizer, where training is, the best record so far.

    epoch: of the last one that ended; underway: the one after it. selection: where epochs take a part of the images.
    """

    network: nn.Module
    compute: Compute
    update: Update
    epoch: int = 0
    best: Record | None = None
    records: list[Record] = field(default_factory=list)
    underway: Underway = field(default_factory=Underway)
    selection: Selection | None = None

    @classmethod
    def begin(cls, network: nn.Module, recipe: Recipe, images: Callable[[], Tensor] | None = None) -> "TrainingState":
        """Place the network on its device, draw its weights anew if the recipe says so, and make its optimizer.

        images: gives training images (N, C, H, W) as the network takes them, to which whitening layers are fitted.
        """
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigurationError(f"{type(network).__name__} has no parameters that can learn")
        set_thread_count(recipe.threads)
        compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
        if recipe.initialization != "default":
            torch.manual_seed(mix_seeds(recipe.seed))
            initialize(network, recipe.initialization)
        if images:
            fit_whitening(network, images)
        place_network(network, compute)
        return cls(network, compute, Update(network, recipe, compute))

    @property
    def trained(self) -> nn.Module:
        """What is measured and kept: the averaged weights where there are any, else the network."""
        return self.update.average.network if self.update.average else self.network

    def add(self, record: Record) -> None:
        """Take in an epoch's figures, which ends it."""
        self.records.append(record)
        if record.better_than(self.best):
            self.best = record
        self.epoch, self.underway = record.epoch, Underway()

    def snapshot(self) -> dict[str, Any]:
        """All of it as a tree of dicts, lists, numbers, text and tensors, from which training goes on exactly. The
        tensors are the live ones: copy or write them before the next step."""
        under = self.underway
        return {
            "network": dict(self.network.state_dict()) | dict(self.network.named_buffers()),
            "update": self.update.snapshot(),
            "epoch": self.epoch,
            "best": self.best.epoch if self.best else None,
            "records": [asdict(record) for record in self.records],
            "underway": {
                "position": under.position,
                "seconds": under.seconds,
                "rates": under.rates,
                "left_out": under.left_out,
                "totals": under.totals.snapshot(),
            },
            "selection": self.selection.snapshot() if self.selection else None,
            "random": save_random_states(self.compute.device),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what `snapshot` gave. Raises RunError for whatever of it has no place here, or is lacking."""
        try:
            restore_network(self.network, saved["network"])
            self.update.restore(saved["update"])
            self.records = [Record(**record) for record in saved["records"]]
            by_epoch: dict[int | None, Record | None] = {one.epoch: checked_record(one) for one in self.records}
            self.best = (by_epoch | {None: None})[saved["best"]]
            self.epoch, under = int(saved["epoch"]), saved["underway"]
            kinds = {"position": int, "seconds": float, "rates": float, "left_out": int}
            self.underway = Underway(**{name: kind(under[name]) for name, kind in kinds.items()})
            self.underway.totals.restore(under["totals"], self.compute.device)
            done = len(self.underway.totals.samples)
            if self.epoch != len(self.records) or self.underway.position != done:
                raise ValueError(
                    f"{len(self.records)} records and {done} steps, but at {self.epoch}, {under['position']}"
                )
            self.selection = Selection.of(saved.get("selection"), self.compute.device)
            restore_random_states(saved["random"], self.compute.device)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise RunError(f"the saved state does not fit this training ({what})") from error


def fit_whitening(network: nn.Module, images: Callable[[], Tensor]) -> None:
    """Fit the whitening layers that have not been fitted yet."""
    for layer in network.modules():
        if isinstance(layer, Whitening) and not bool(layer.fitted):
            layer.fit(images())


@torch.no_grad()
def restore_network(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Give a network its parameters and all its buffers, those too that its state_dict leaves out."""
    kept = network.state_dict()
    buffers = {name: one for name, one in network.named_buffers() if name not in kept}
    if wrong := saved.keys() ^ (kept.keys() | buffers.keys()):
        raise KeyError(f"{sorted(wrong)[0]} is on one side only")
    network.load_state_dict({name: saved[name] for name in kept})
    for name, buffer in buffers.items():
        buffer.copy_(saved[name])


def checked_record(record: Record) -> Record:
    """A record whose figures are numbers; raises TypeError."""
    for name, value in asdict(record).items():
        if not isinstance(value, int | float | None):
            raise TypeError(f"{name} is {value!r}")
    return record
