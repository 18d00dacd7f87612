"""The training loop: events for whoever consumes them, and the shortest way from a network to its records."""

import math
import time
from collections.abc import Generator, Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.acceleration.threads import set_thread_count
from lenext.data.batches import move_to_device, take_rows
from lenext.data.dataset import Dataset, Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import DataError, RunError
from lenext.foundation.group import Group
from lenext.training.evaluation import Evaluation, evaluate_split, evaluation_slices, logits_of_parts
from lenext.training.feature_store import FeatureStore
from lenext.training.frozen import resolve_views
from lenext.training.losses import Loss
from lenext.training.metrics import Record, RunningMetrics, batch_metrics
from lenext.training.parts import share_cores
from lenext.training.recipe import Recipe
from lenext.training.settings import ScheduleSettings, Settings, resolve, split_by_recipe
from lenext.training.state import Phase, Step, TrainingState
from lenext.training.trainer import Trainer
from lenext.training.update import NotFiniteError

MAX_SAMPLE_IMAGES = 1000

Means = tuple[float, float] | tuple[None, None]
"""Loss and accuracy, or nothing where nothing was measured."""


def fit(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008
    loss: Loss | None = None,
) -> Iterator[Record]:
    """Train a network, and yield a Record after each epoch; a `break` ends training.

    Args:
        network: Any module from images (N, C, H, W) to logits (N, K); it is changed in place. With `ema_decay`, the
            records measure the averaged weights, which the network gets at the end.
        data: Validation and test sets that it lacks are taken out of its training samples, as the recipe says.
        recipe: How to train.
        loss: Instead of the recipe's, whose label_smoothing, class_weights, mixup and cutmix then have no effect.

    Raises:
        ConfigurationError: The recipe does not suit the network, the data or the machine.
        TrainingError: The loss is no longer finite.
    """
    set_thread_count(recipe.threads)
    data = split_by_recipe(data, recipe)
    settings = resolve(recipe, data)
    settings = share_cores(settings, network, recipe)
    settings, _ = resolve_views(network, data, recipe, settings, loss)
    state = TrainingState.begin(network, settings, partial(sample_images, data, settings.images))
    try:
        for event in events(state, data, settings, loss):
            if isinstance(event, Record):
                yield event
    finally:
        if state.trained is not network:
            network.load_state_dict(state.trained.state_dict())


def events(
    state: TrainingState, data: Dataset, settings: Settings, loss: Loss | None = None, group: Group | None = None
) -> Iterator[Step | Record]:
    """Train from where the state is, and yield what happens.

    Args:
        state: What is trained; it is changed in place.
        data: A dataset that is split.
        settings: How it is trained.
        loss: Instead of that of the settings.
        group: The processes that train together, each of which does this; this one alone by default.

    Yields:
        A Step after each batch of training and of validation, and a Record at the end of each epoch.

    Raises:
        TrainingError: The loss is no longer finite.
    """
    group = group or Group()
    trainer = Trainer(state, data, settings, loss, group)
    validation = data.validation and move_to_device(data.validation, state.compute)
    training_again = trainer.split if settings.evaluation.training_samples else None
    if state.progress.position > settings.sampling.batches:
        raise RunError(f"the checkpoint is at step {state.progress.position} of {settings.sampling.batches}")
    while state.epoch < settings.schedule.length.epochs and not stopped_early(state, settings.schedule):
        epoch, progress = state.epoch + 1, state.progress
        yield from trainer.train_epoch(epoch)
        train_loss, train_accuracy = progress.metrics.means()
        check_loss(trainer, epoch, train_loss)
        started = time.perf_counter()
        measured = partial(measure, state=state, settings=settings, features=trainer.features, group=group)
        val_loss, val_accuracy = yield from measured("validation", split=validation)
        again_loss, again_accuracy = yield from measured("train again", split=training_again)
        record = Record(
            epoch=epoch,
            seconds=progress.seconds + time.perf_counter() - started,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=progress.learning_rate_sum / progress.position,
            evaluated_train_loss=again_loss,
            evaluated_train_accuracy=again_accuracy,
            skipped_updates=progress.skipped_updates,
        )
        state.end_epoch(record)
        yield record


def check_loss(trainer: Trainer, epoch: int, loss: float) -> None:
    """Raise TrainingError, with the cause, when the mean loss of an epoch is not finite."""
    if not math.isfinite(loss):
        with trainer.diagnosed(trainer.plan(epoch), 0):
            raise NotFiniteError(f"the training loss became {loss}")


def stopped_early(state: TrainingState, schedule: ScheduleSettings) -> bool:
    """Return whether training ends by early stopping."""
    epochs_since_best = state.epoch - state.best.epoch if state.best else 0
    return 0 < schedule.early_stopping <= epochs_since_best


def measure(
    phase: Phase,
    *,
    state: TrainingState,
    split: Split | None,
    settings: Settings,
    features: FeatureStore | None,
    group: Group,
) -> Generator[Step, None, Means]:
    """Measure a split in evaluation mode, yield a Step per batch, and return plain cross-entropy and accuracy.

    Each process of the group measures its share of the batches, and returns the means of all.
    """
    if split is None:
        return None, None
    images, compute, network = settings.images, state.compute, state.trained.eval()
    slices, metrics = evaluation_slices(split, images, compute), RunningMetrics()
    own = slices[group.rank :: group.size]
    if features:
        outputs = features.evaluation_logits(phase, split, images, slices)
    else:
        outputs = logits_of_parts(network, split, own, images, compute, workers=settings.machine.workers)
    for number, (part, logits) in enumerate(zip(own, outputs, strict=True)):
        loss, correct = batch_metrics(logits, split.labels[part].to(compute.device))
        samples, position = part.stop - part.start, group.rank + number * group.size
        metrics.add(loss, correct, samples)
        yield Step(phase, state.epoch + 1, position, len(slices), samples, loss, correct, 0.0)
        if group.size > 1 and group.stop:
            break  # the others hear of it at the end of their shares
    if group.size > 1:
        dealt = group.gather((metrics.figures(), bool(group.stop)))
        group.agreed_to_stop = any(is_stopped for _, is_stopped in dealt)
        metrics = RunningMetrics.dealt_out([figures for figures, _ in dealt])
        figures = sum(metrics.samples), torch.tensor(metrics.means()[0]), sum(metrics.correct, torch.tensor(0))
        yield Step(phase, state.epoch + 1, len(slices) - 1, len(slices), *figures, 0.0)
    return metrics.means()


def sample_images(data: Dataset, images: Preprocessing) -> Tensor:
    """Return training images (N, C, H, W), evenly out of all, as the network takes them, on the CPU."""
    count = min(MAX_SAMPLE_IMAGES, len(data.train))
    rows = torch.arange(count) * len(data.train) // count
    return images(take_rows(data.train.images, rows.to(data.train.labels.device)).cpu())


def evaluate(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008
    split: Literal["train", "validation", "test"] = "test",
) -> Evaluation:
    """Measure a network on a split of the data.

    Args:
        network: Any module from images (N, C, H, W) to logits (N, K); its mode is left as it was.
        data: It is split, and its images are prepared, as the recipe says.
        recipe: The one that the network was trained with.
        split: Which samples are measured.

    Raises:
        DataError: The data have no such split.
    """
    data = split_by_recipe(data, recipe)
    splits = data.splits()
    if split not in splits:
        raise DataError(f"{data.name} has no {split} split; it has: {', '.join(splits)}")
    settings = resolve(recipe, data)
    place_network(network, settings.machine.compute, fast_layers=settings.machine.fast_layers)
    return evaluate_split(network, splits[split], settings.images, settings.machine.compute, settings.evaluation.tta)
