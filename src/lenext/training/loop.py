"""The loop that trains any network on any data, told event by event; and the measuring of a split."""

import math
import os
import shutil
import sysconfig
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lenext.data.augment import Augmentation
from lenext.data.batches import batches, cuts, resident, training_batches
from lenext.data.dataset import Dataset, Split
from lenext.data.division import divide
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError, TrainingError
from lenext.foundation.seeds import seeds
from lenext.training.evaluation import Evaluation, evaluate_split, measured_together
from lenext.training.losses import CrossEntropy, Loss, Objective, default_loss
from lenext.training.optim import learning_rate
from lenext.training.recipe import Recipe
from lenext.training.state import Record, Step, Totals, TrainingState


def divided(data: Dataset, recipe: Recipe) -> Dataset:
    """The data with the validation and test splits that the recipe asks for."""
    return divide(
        data,
        validation_fraction=recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        method=recipe.split,
        seed=recipe.split_seed,
        train_samples=recipe.train_samples,
    )


def preprocessing(data: Dataset, recipe: Recipe) -> Preprocessing:
    """How the recipe has divided data brought to the network; `image_size=auto` is the pictures' own size here."""
    return Preprocessing.of(data, recipe.image_size, recipe.resize, recipe.scaling)


def augmentation(data: Dataset, recipe: Recipe) -> Augmentation:
    """The recipe's augmentation; `flip=auto` where a mirrored picture keeps its class."""
    side = min(data.shape[1:])
    for name in ("shift", "cutout"):
        if getattr(recipe, name) >= side:
            raise ConfigurationError(f"{name}={getattr(recipe, name)}: the pictures have only {side} px a side")
    flip = data.mirrored if recipe.flip == "auto" else recipe.flip
    return Augmentation(
        flip, recipe.shift, recipe.cutout, recipe.random_crop, recipe.color_jitter, recipe.random_erasing
    )


def fit(network: nn.Module, data: Dataset, recipe: Recipe = Recipe(), loss: Loss | None = None) -> Iterator[Record]:  # noqa: B008
    """Train a network, yielding a Record an epoch; a `break` ends it. The network is changed in place.

    Any nn.Module from (N, C, H, W) to logits (N, K) will do. What the data do not have of validation and test sets is
    taken out of their training pictures as the recipe says.

    loss: instead of the recipe's, whose label_smoothing, class_weights, mixup and cutmix then count for nothing.
    With `ema`, the records measure the averaged weights, which the network is given at the end; to save them on the
    way, go through `events` and take `state.trained`.
    """
    data, state = divided(data, recipe), TrainingState.begin(network, recipe)
    try:
        for event in events(state, data, recipe, loss):
            if isinstance(event, Record):
                yield event
    finally:
        if state.trained is not network:
            network.load_state_dict(state.trained.state_dict())


def events(
    state: TrainingState,
    data: Dataset,
    recipe: Recipe,
    loss: Loss | None = None,
    prepare: Preprocessing | None = None,
) -> Iterator[Step | Record]:
    """Train from where `state` is on divided data: a Step after each batch and each batch of validation, a Record at
    the end of each epoch. Ends after the recipe's epochs, or early. Raises TrainingError when the loss is not finite.

    prepare: how pictures go in, where it is not as the recipe says (with weights that bring their own normalization).
    """
    network, compute, recipe, batch_size = state.network, state.compute, recipe.settled(), size_of_batch(recipe)
    prepare, augment = prepare or preprocessing(data, recipe), augmentation(data, recipe)
    train, held = resident(data.train, compute), data.validation and resident(data.validation, compute)
    loss = loss or default_loss(recipe, train.labels.to(compute.device), len(data.classes))
    reported = isinstance(loss, CrossEntropy) and loss.is_plain(network) and recipe.compile != "cuda_graphs"
    bare = Objective(network, loss)
    objective = compiled(bare, recipe.compile, compute)
    per_epoch = len(cuts(len(train), batch_size))
    updates = -(-per_epoch // recipe.accumulate)
    check_batch_norm(network, batch_size)
    for epoch in range(state.epoch + 1, recipe.epochs + 1):
        begun, totals, rate, rates = time.perf_counter(), Totals(), 0.0, 0.0
        set_training(network)
        drawn = seeds(per_epoch, recipe.seed, epoch, 1)  # the epoch alone is the seed of its order
        for position, (images, labels) in enumerate(
            training_batches(
                train, grown(prepare, recipe, epoch), augment, compute, batch_size=batch_size, seed=recipe.seed,
                epoch=epoch, shuffle=recipe.shuffle, balanced=recipe.balanced_sampling,
            )
        ):  # fmt: skip
            use_seed(drawn[position], compute.device)
            update = (epoch - 1) * updates + position // recipe.accumulate
            rate = learning_rate(recipe, update, recipe.epochs * updates, updates)
            rates += rate
            with compute.autocast():
                value, logits = (objective if len(labels) == batch_size else bare)(images, labels)
            if compute.device.type == "cpu" and not math.isfinite(value.item()):
                raise not_finite(value.item(), epoch, position, rate)
            state.update(value, rate, *summed(position, per_epoch, recipe.accumulate))
            plain, correct = figures(logits.detach(), labels, value.detach() if reported else None)
            totals.add(plain, correct, len(labels))
            yield Step("train", epoch, position, per_epoch, len(labels), plain, correct, rate)
        train_loss, train_accuracy = totals.means()
        if not math.isfinite(train_loss):
            raise not_finite(train_loss, epoch, per_epoch - 1, rate)
        seen = yield from validation(state, held, prepare, epoch)
        again: tuple[float, float] | tuple[None, None] = (None, None)
        if recipe.evaluate_training:
            measured = evaluate_split(state.trained, train, prepare, compute)
            again = measured.loss, measured.accuracy
        taken, mean_rate = time.perf_counter() - begun, rates / per_epoch
        record = Record(epoch, taken, train_loss, train_accuracy, seen[0], seen[1], mean_rate, again[0], again[1])
        state.add(record)
        yield record
        if recipe.early_stopping and state.best and epoch - state.best.epoch >= recipe.early_stopping:
            return


def summed(position: int, per_epoch: int, accumulate: int) -> tuple[float, bool]:
    """The share that a batch's loss has in its update, and whether the update comes after it; an epoch's last batches
    make an update of their own."""
    first = position // accumulate * accumulate
    count = min(accumulate, per_epoch - first)
    return 1 / count, position == first + count - 1


def size_of_batch(recipe: Recipe) -> int:
    """Pictures a step; `auto` has been replaced by `train`, which knows what a network needs."""
    if isinstance(recipe.batch_size, str):
        raise ConfigurationError("batch_size=auto: `train` finds it; in the open, give a number")
    return recipe.batch_size


def use_seed(seed: int, device: torch.device) -> None:
    """Seed torch for what the network and its loss draw in one step."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # a tenth of the time that seeding every device takes
    else:
        torch.manual_seed(seed)


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


def grown(prepare: Preprocessing, recipe: Recipe, epoch: int) -> Preprocessing:
    """How an epoch prepares its pictures: progressive sizes grow by 4 px, to the whole by two thirds of the epochs, and
    the last epoch has the whole in any case."""
    if epoch == recipe.epochs:
        return prepare
    share = recipe.progressive + (1 - recipe.progressive) * min(1.0, 1.5 * (epoch - 1) / recipe.epochs)
    return prepare if share >= 1 else prepare.at(share)


def set_training(network: nn.Module) -> None:
    """Training mode, but for norms that are frozen: they keep their statistics."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(one.requires_grad for one in own):
            module.eval()


def validation(
    state: TrainingState, split: Split | None, prepare: Preprocessing, epoch: int
) -> Generator[Step, None, tuple[float, float] | tuple[None, None]]:
    """Measure the validation pictures, a Step a batch; returns plain cross-entropy and accuracy, or two None."""
    if split is None:
        return None, None
    network, batch_size = state.trained.eval(), measured_together(prepare, state.compute)
    totals, parts = Totals(), len(cuts(len(split), batch_size))
    for position, (images, labels) in enumerate(batches(split, prepare, state.compute, batch_size)):
        with torch.no_grad(), state.compute.autocast():
            value, correct = figures(network(images).float(), labels)
        totals.add(value, correct, len(labels))
        yield Step("validation", epoch, position, parts, len(labels), value, correct, 0.0)
    return totals.means()


def figures(logits: Tensor, labels: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Plain cross-entropy, where it is not known already, and how many are right, both on the device."""
    return F.cross_entropy(logits, labels) if known is None else known, (logits.argmax(1) == labels).sum()


def evaluate(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008
    split: Literal["train", "validation", "test"] = "test",
) -> Evaluation:
    """Measure a network on a split of the data, divided and prepared as the recipe says. Its mode is left as it was."""
    data = divided(data, recipe)
    there = data.splits()
    if split not in there:
        raise DataError(f"{data.name} has no {split} split; it has: {', '.join(there)}")
    compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
    compute.place(network)
    return evaluate_split(network, there[split], preprocessing(data, recipe), compute)


def check_batch_norm(network: nn.Module, batch_size: int) -> None:
    """Batch norm has nothing to average over in a batch of one."""
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    if batch_size == 1 and any(isinstance(module, norms) for module in network.modules()):
        raise ConfigurationError("batch_size=1: the network has batch norm, which needs at least 2 pictures a step")


def not_finite(loss: float, epoch: int, position: int, rate: float) -> TrainingError:
    return TrainingError(
        f"the loss became {loss} in epoch {epoch}, step {position + 1}; a learning_rate below {rate:.2g} "
        "or gradient_clip=1 usually helps"
    )
