"""Passes over the training images: from a batch to changed weights, and what stops that."""

import os
import shutil
import sysconfig
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.data.augment import Augmentation
from lenext.data.batches import Batch, batch_slices, draw_epoch_order, move_to_device, training_batches
from lenext.data.dataset import Dataset, Split, shorten_list
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, RunError, TrainingError
from lenext.foundation.seeds import generator, seeds
from lenext.foundation.settings import TestTimeAugmentation
from lenext.training.diagnosis import finite, first_bad, not_finite
from lenext.training.losses import CrossEntropy, Loss, Objective, batch_weight, default_loss
from lenext.training.optim import NotFiniteError, learning_rate
from lenext.training.recipe import Recipe
from lenext.training.replicas import Replicas
from lenext.training.selection import Selection
from lenext.training.state import Step, TrainingState

LOOK = 0.2  # seconds between looks at what a device has noted; each waits for it


class Passes:
    """Passes over the training images, each an epoch; what they share is made once."""

    def __init__(
        self, state: TrainingState, data: Dataset, recipe: Recipe, loss: Loss | None, prepare: Preprocessing
    ) -> None:
        self.state, self.recipe, self.prepare = state, recipe, prepare
        self.split, self.augment = move_to_device(data.train, state.compute), augmentation(data, recipe)
        self.batch_size = size_of_batch(recipe)
        self.loss = loss or default_loss(recipe, self.split.labels.to(state.compute.device), len(data.classes))
        self.bare = Objective(state.network, self.loss)
        shared = recipe.replicas > 1 and state.compute.device.type == "cpu"
        self.objective: nn.Module = (
            Replicas(state.network, self.loss, recipe.replicas, state.compute)
            if shared
            else compiled(self.bare, recipe.compile, state.compute)
        )
        plain = isinstance(self.loss, CrossEntropy) and self.loss.is_plain(state.network)
        self.reported = plain and recipe.compile != "cuda_graphs"
        self.samples = recipe.samples_per_epoch(len(self.split))
        self.cuts = batch_slices(self.samples, self.batch_size)
        self.per_epoch = len(self.cuts)
        self.updates, self.total = recipe.length(self.per_epoch)
        self.epochs = -(-self.total // self.updates)
        self.stem = stem_of(state.network) if recipe.freeze_stem_after < 1 else []
        self.usual = set(not_finite(state.network))
        check_batch_norm(state.network, self.batch_size)
        if shared and self.batch_size < 2 * recipe.replicas:
            raise ConfigurationError(
                f"replicas={recipe.replicas}: batches of {self.batch_size} are too small; each needs two images"
            )

    def one(self, epoch: int) -> Iterator[Step]:
        """An epoch from where the state is in it."""
        state, recipe, under = self.state, self.recipe, self.state.underway
        begun, batches = time.perf_counter() - under.seconds, self.batches_of(epoch)
        set_training(state.network)
        self.set_stem_trainable(epoch <= int(recipe.freeze_stem_after * self.epochs + 1e-9))
        order = self.order(epoch) if self.select(epoch) else None
        weights = self.batch_weights(epoch, batches)
        drawn, asked = self.seeds(epoch), time.perf_counter()
        made = islice(self.batches(epoch, under.position), batches - under.position)
        for position, (images, labels) in enumerate(made, under.position):
            use_seed(drawn[position], state.compute.device)
            update = (epoch - 1) * self.updates + position // recipe.accumulate_batches
            rate = learning_rate(recipe, update, self.total, self.updates)
            with state.compute.autocast():
                value, logits = (self.objective if len(labels) == self.batch_size else self.bare)(images, labels)
            try:
                state.update(value, rate, *accumulation_weight(weights, position, recipe.accumulate_batches))
            except NotFiniteError as error:
                raise self.explained(error, epoch, position) from error
            if state.selection and order is not None:
                state.selection.note(order[self.cuts[position]], logits.detach(), labels)
            plain, correct = figures(logits.detach(), labels, value.detach() if self.reported else None)
            under.totals.add(plain, correct, len(labels))
            under.position, under.rates, under.seconds = position + 1, under.rates + rate, time.perf_counter() - begun
            last = position == batches - 1
            if last or time.perf_counter() - asked > LOOK:
                asked = time.perf_counter()
                self.look(epoch, position, whole=last)
            yield Step("train", epoch, position, batches, len(labels), plain, correct, rate)

    def set_stem_trainable(self, learns: bool) -> None:
        """Whether the first layer learns from here (after FreezeOut, Brock et al., arXiv:1706.04983, and airbench):
        where it does not, nothing is computed of its gradient."""
        for parameter in self.stem:
            parameter.requires_grad_(learns)

    def select(self, epoch: int) -> bool:
        """Choose the images of an epoch that begins, where it takes a part of them; whether that is so."""
        state, recipe, count = self.state, self.recipe, len(self.split)
        if recipe.hardest_fraction == 1:
            return False
        state.selection = state.selection or Selection.begin(count, state.compute.device)
        if len(state.selection.losses) != count:
            raise RunError(f"the saved state is of {len(state.selection.losses)} training images, not of {count}")
        if not state.underway.position:
            state.selection.choose(self.samples, recipe.seed, epoch)
        return True

    def taken(self) -> Split:
        """The training images of the epoch that has begun."""
        return self.split.take(self.state.selection.rows) if self.state.selection else self.split

    def order(self, epoch: int) -> Tensor:
        """In which the images of the epoch that has begun come."""
        labels = self.split.labels.cpu() if self.recipe.balanced_sampling else None
        return draw_epoch_order(self.samples, self.recipe.seed, epoch, self.recipe.shuffle, labels)[0]

    def batches_of(self, epoch: int) -> int:
        """How many batches an epoch has; the last one may be cut short."""
        return min(self.per_epoch, (self.total - (epoch - 1) * self.updates) * self.recipe.accumulate_batches)

    def batch_weights(self, epoch: int, batches: int) -> list[float]:
        """Return what each batch of an epoch counts in an update of several: samples, or the sum of class weights."""
        if self.recipe.accumulate_batches == 1 or not self.recipe.class_weights:
            return [float(cut.stop - cut.start) for cut in self.cuts[:batches]]
        labels = self.taken().labels[self.order(epoch).to(self.split.labels.device)]
        return [float(batch_weight(self.loss, labels[cut])) for cut in self.cuts[:batches]]

    def look(self, epoch: int, position: int, *, whole: bool) -> None:
        """See what the device has noted of updates that were left out, and whether statistics are finite; at the end of
        an epoch also the weights and all that the optimizer keeps."""
        try:
            self.state.underway.left_out += self.state.update.check()
        except NotFiniteError as error:
            raise self.explained(error, epoch, 0) from error
        network = self.state.network
        named = [("buffer", name, one) for name, one in network.named_buffers()]
        if whole:
            named += [("parameter", name, one) for name, one in network.named_parameters()]
        for what, name, one in named:
            if name not in self.usual and not finite(one):
                raise self.explained(NotFiniteError(f"the {what} {name} is no longer finite"), epoch, position)
        if whole and (lost := self.state.update.lost()):
            raise TrainingError(f"the optimizer's {lost} is no longer finite after epoch {epoch}; {self.advice()}")

    def seeds(self, epoch: int) -> list[int]:
        """Of the steps of an epoch; the epoch alone is the seed of its order."""
        return seeds(self.per_epoch, self.recipe.seed, epoch, 1)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        recipe, prepare = self.recipe, grown(self.prepare, self.recipe, epoch, self.epochs)
        return training_batches(
            self.taken(), prepare, self.augment, self.state.compute, batch_size=self.batch_size, seed=recipe.seed,
            epoch=epoch, shuffle=recipe.shuffle, balanced=recipe.balanced_sampling, start=start,
            mirrored=self.mirrored(epoch) if recipe.flip == "alternating" else None,
        )  # fmt: skip

    def mirrored(self, epoch: int) -> Tensor:
        """A number for each image of the epoch that has begun, below 0.5 in every other epoch."""
        numbers = torch.rand(len(self.split), generator=generator(self.recipe.seed, 0))
        numbers = numbers if epoch % 2 else 1 - numbers
        return numbers[self.state.selection.rows] if self.state.selection else numbers

    def explained(self, error: NotFiniteError, epoch: int, position: int) -> TrainingError:
        """The error with the first thing that went bad, found by computing the batches again from `position` on."""
        drawn = self.seeds(epoch)
        for at, (images, labels) in enumerate(self.batches(epoch, position), position):
            use_seed(drawn[at], self.state.compute.device)
            with self.state.compute.autocast():
                found = first_bad(self.state.network, self.loss, images, labels, self.usual)
            if found:
                which = self.which(epoch, at)
                break
        else:
            at, found, which = position, "not found again", ""
        return TrainingError(f"{error} in epoch {epoch}, step {at + 1}{which}; first bad: {found}. {self.advice()}")

    def advice(self) -> str:
        rate = self.state.update.optimizers[0].param_groups[0]["lr"]
        return f"A learning_rate below {rate:.2g} or gradient_clip=1 usually helps"

    def which(self, epoch: int, position: int) -> str:
        """Which images a batch has."""
        ids = self.taken().ids[self.order(epoch)[self.cuts[position]].numpy()]
        return f" (samples {shorten_list([str(one) for one in ids.tolist()], 4)})"


def figures(logits: Tensor, labels: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Plain cross-entropy, where it is not known already, and how many are right, both on the device."""
    return F.cross_entropy(logits, labels) if known is None else known, (logits.argmax(1) == labels).sum()


def accumulation_weight(weights: Sequence[float], position: int, accumulate: int) -> tuple[float, bool]:
    """Return a batch's share of its update, and whether the update comes after it.

    The sum of the gradients is that of one large batch: a batch counts by its samples (or their class weights). The
    last batches of an epoch make an update of their own.

    Args:
        weights: what each batch of the epoch counts; see `losses.batch_weight`.
        position: of the batch in the epoch, from 0.
        accumulate: batches an update.
    """
    first = position // accumulate * accumulate
    group = weights[first : first + accumulate]
    return weights[position] / sum(group), position == first + len(group) - 1


def use_seed(seed: int, device: torch.device) -> None:
    """Seed torch for what the network and its loss draw in one step."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # a tenth of the time that seeding every device takes
    else:
        torch.manual_seed(seed)


def set_training(network: nn.Module) -> None:
    """Training mode, but for norms that are frozen: they keep their statistics."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(one.requires_grad for one in own):
            module.eval()


def stem_of(network: nn.Module) -> list[nn.Parameter]:
    """What learns of the first layer that learns, in the order in which they were made; nothing where no other does."""
    own = ([one for one in module.parameters(recurse=False) if one.requires_grad] for module in network.modules())
    layers = [found for found in own if found]
    return layers[0] if len(layers) > 1 else []


def grown(prepare: Preprocessing, recipe: Recipe, epoch: int, epochs: int) -> Preprocessing:
    """How an epoch prepares its images: progressive sizes grow by 4 px, to the whole by two thirds of the epochs, and
    the last epoch has the whole in any case."""
    if epoch == epochs:
        return prepare
    share = recipe.progressive_resizing + (1 - recipe.progressive_resizing) * min(1.0, 1.5 * (epoch - 1) / epochs)
    return prepare if share >= 1 else prepare.shrink(share)


def augmentation(data: Dataset, recipe: Recipe) -> Augmentation:
    """The recipe's augmentation; `flip=auto` and `alternating` where a mirrored image keeps its class."""
    side = min(data.shape[1:])
    for name in ("shift", "cutout"):
        if getattr(recipe, name) >= side:
            raise ConfigurationError(f"{name}={getattr(recipe, name)}: the images have only {side} px a side")
    flip = data.flip_invariant if isinstance(recipe.flip, str) else recipe.flip
    return Augmentation(
        flip,
        recipe.shift,
        recipe.cutout,
        recipe.random_crop,
        recipe.color_jitter,
        recipe.random_erasing,
        recipe.shift_padding,
    )


def allowed_tta(data: Dataset, recipe: Recipe) -> TestTimeAugmentation:
    """The views of a test image, without mirrored ones where a mirrored image is of another class."""
    if data.flip_invariant or recipe.flip is True or recipe.tta in ("none", "shift"):
        return recipe.tta
    return "none" if recipe.tta == "flip" else "shift"


def size_of_batch(recipe: Recipe) -> int:
    """Images a step; `auto` has been replaced by `train`, which knows what a network needs."""
    if isinstance(recipe.batch_size, str):
        raise ConfigurationError("batch_size=auto: `train` finds it; in the open, give a number")
    return recipe.batch_size


def check_batch_norm(network: nn.Module, batch_size: int) -> None:
    """Batch norm has nothing to average over in a batch of one."""
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    if batch_size == 1 and any(isinstance(module, norms) for module in network.modules()):
        raise ConfigurationError("batch_size=1: the network has batch norm, which needs at least 2 images a step")


def compiled(objective: Objective, how: str, compute: Compute) -> nn.Module:
    """The objective, compiled if so asked; `auto` has been settled by `train`, which knows the network and the data."""
    if how in ("auto", "no"):
        return objective
    device = compute.device.type
    if how == "cuda_graphs" and device != "cuda":
        raise ConfigurationError(
            f"compile=cuda_graphs: it needs an NVIDIA GPU, and this runs on {device}; give yes or no"
        )
    if device == "cpu" and not has_compiler():
        raise ConfigurationError(
            "compile=yes: on a CPU it needs a C++ compiler and Python's headers (g++, python3-dev); give no"
        )
    mode = "reduce-overhead" if how == "cuda_graphs" else None
    return torch.compile(objective, mode=mode)  # type: ignore[return-value]


def has_compiler() -> bool:
    """Whether there are a C++ compiler and Python's headers, which compiling for a CPU needs."""
    return Path(sysconfig.get_path("include"), "Python.h").exists() and any(
        map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))
    )
