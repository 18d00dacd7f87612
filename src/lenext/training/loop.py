"""The loop that trains any network on any data, told event by event; and the measuring of a split."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.data.batches import batch_slices, batches, move_to_device, take_rows
from lenext.data.dataset import Dataset, Split
from lenext.data.preprocessing import Preprocessing
from lenext.data.splitting import split_dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import DataError, RunError
from lenext.training.evaluation import Evaluation, evaluate_split, measured_together
from lenext.training.losses import Loss
from lenext.training.optim import NotFiniteError
from lenext.training.passes import Passes, allowed_tta, figures
from lenext.training.recipe import Recipe
from lenext.training.state import Record, Step, Totals, TrainingState


def split_by_recipe(data: Dataset, recipe: Recipe) -> Dataset:
    """The data with the validation and test splits that the recipe asks for."""
    if recipe.select_on_test and not data.is_split:
        if data.test is None:
            raise DataError(f"select_on_test: {data.name} has no test set of its own")
        data = replace(data, validation=data.test)
    return split_dataset(
        data,
        validation_fraction="auto" if recipe.select_on_test else recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        method=recipe.split,
        seed=recipe.split_seed,
        train_samples=recipe.train_samples,
    )


def sample_images(data: Dataset, prepare: Preprocessing, most: int = 1000) -> Tensor:
    """Training images, evenly out of all, as the network takes them, on the CPU."""
    count = min(most, len(data.train))
    rows = torch.arange(count) * len(data.train) // count
    return prepare(take_rows(data.train.images, rows.to(data.train.labels.device)).cpu())


def preprocessing(data: Dataset, recipe: Recipe) -> Preprocessing:
    """How the recipe has divided data brought to the network; `image_size=auto` is the images' own size here."""
    return Preprocessing.from_dataset(data, recipe.image_size, recipe.resize, recipe.scaling)


def fit(network: nn.Module, data: Dataset, recipe: Recipe = Recipe(), loss: Loss | None = None) -> Iterator[Record]:  # noqa: B008
    """Train a network, yielding a Record an epoch; a `break` ends it. The network is changed in place.

    Any nn.Module from (N, C, H, W) to logits (N, K) will do. What the data do not have of validation and test sets is
    taken out of their training images as the recipe says.

    loss: instead of the recipe's, whose label_smoothing, class_weights, mixup and cutmix then count for nothing.
    With `ema_decay`, the records measure the averaged weights, which the network is given at the end; to save them on
    the way, go through `events` and take `state.trained`.
    """
    data = split_by_recipe(data, recipe)
    state = TrainingState.begin(network, recipe, partial(sample_images, data, preprocessing(data, recipe)))
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

    prepare: how images go in, where it is not as the recipe says (with weights that bring their own normalization).
    """
    recipe = recipe.with_defaults()
    prepare = prepare or preprocessing(data, recipe)
    held = data.validation and move_to_device(data.validation, state.compute)
    training = Passes(state, data, recipe, loss, prepare)
    if state.underway.position > training.per_epoch:
        raise RunError(f"the saved state is at step {state.underway.position} of {training.per_epoch}")
    while state.epoch < training.epochs and not stopped_early(state, recipe):
        epoch, under = state.epoch + 1, state.underway
        try:
            yield from training.one(epoch)
        finally:
            training.set_stem_trainable(True)
        train_loss, train_accuracy = under.totals.means()
        if not math.isfinite(train_loss):
            raise training.explained(NotFiniteError(f"the training loss became {train_loss}"), epoch, 0)
        begun = time.perf_counter()
        seen = yield from measured("validation", state, held, prepare, epoch)
        again = yield from measured(
            "train again", state, training.split if recipe.evaluate_training else None, prepare, epoch
        )
        take_rows, mean_rate = under.seconds + time.perf_counter() - begun, under.rates / training.batches_of(epoch)
        record = Record(
            epoch,
            take_rows,
            train_loss,
            train_accuracy,
            seen[0],
            seen[1],
            mean_rate,
            again[0],
            again[1],
            under.left_out,
        )
        state.add(record)
        yield record


def stopped_early(state: TrainingState, recipe: Recipe) -> bool:
    """Whether the epochs without a better validation are as many as the recipe bears."""
    waited = state.epoch - state.best.epoch if state.best else 0
    return 0 < recipe.early_stopping <= waited


def measured(
    phase: Literal["validation", "train again"],
    state: TrainingState,
    split: Split | None,
    prepare: Preprocessing,
    epoch: int,
) -> Generator[Step, None, tuple[float, float] | tuple[None, None]]:
    """Measure a split in evaluation mode, a Step a batch; returns plain cross-entropy and accuracy, or two None."""
    if split is None:
        return None, None
    network, batch_size = state.trained.eval(), measured_together(prepare, state.compute)
    totals, parts = Totals(), len(batch_slices(len(split), batch_size))
    for position, (images, labels) in enumerate(batches(split, prepare, state.compute, batch_size)):
        with torch.no_grad(), state.compute.autocast():
            value, correct = figures(network(images).float(), labels)
        totals.add(value, correct, len(labels))
        yield Step(phase, epoch, position, parts, len(labels), value, correct, 0.0)
    return totals.means()


def evaluate(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008
    split: Literal["train", "validation", "test"] = "test",
) -> Evaluation:
    """Measure a network on a split of the data, divided and prepared as the recipe says. Its mode is left as it was."""
    data = split_by_recipe(data, recipe)
    there = data.splits()
    if split not in there:
        raise DataError(f"{data.name} has no {split} split; it has: {', '.join(there)}")
    compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
    place_network(network, compute)
    return evaluate_split(network, there[split], preprocessing(data, recipe), compute, allowed_tta(data, recipe))
