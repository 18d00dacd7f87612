"""The learning rate search: a copy of the network is trained while the rate rises from tiny to huge."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice

from torch import nn

from lenext.acceleration.threads import set_thread_count
from lenext.data.batches import Batch, training_batches
from lenext.data.dataset import Dataset
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import TrainingError
from lenext.foundation.seeds import mix_seeds, seed_step
from lenext.training.epoch_plan import order_of_epoch
from lenext.training.frozen import set_training_mode
from lenext.training.loop import sample_images
from lenext.training.losses import batch_weight, build_loss
from lenext.training.recipe import Recipe
from lenext.training.settings import Settings, resolve, split_by_recipe
from lenext.training.state import TrainingState

SMOOTHING = 0.9  # of the running mean of the losses
DIVERGED = 3.0  # times the best smoothed loss
MIN_FALL = 0.01  # of the loss, for a rate to be suggested


@dataclass(frozen=True)
class RateSearch:
    """The result of a learning rate search (Smith, arXiv:1506.01186).

    Attributes:
        rates: As they were tried, rising.
        losses: The smoothed loss after each.
        suggestion: A tenth of the rate with the lowest loss, where it still falls well; the peak for a schedule.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_learning_rate(
    network: nn.Module,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 120,
    images: Preprocessing | None = None,
) -> RateSearch:
    """Search for a learning rate; the search ends early when the loss is three times the best, or not finite.

    Args:
        network: Any module from images (N, C, H, W) to logits (N, K); it is left alone.
        data: It is split as the recipe says.
        recipe: How the network will be trained.
        lowest: The first rate.
        highest: The last rate.
        steps: The number of rates.
        images: How images reach the network, when published weights bring their own normalization.

    Raises:
        TrainingError: No rate made the loss fall.
    """
    set_thread_count(recipe.threads)
    data = split_by_recipe(data, recipe)
    flip = "auto" if recipe.flip == "alternating" else recipe.flip  # alternating needs epochs
    recipe = replace(recipe, ema_decay=0.0, hardest_fraction=1.0, flip=flip)
    settings = resolve(recipe, data, images)
    state = TrainingState.begin(copy.deepcopy(network), settings, partial(sample_images, data, settings.images))
    loss = build_loss(settings.loss, data.train.labels.to(state.compute.device), len(data.classes))
    set_training_mode(state.network)
    batches = endless_batches(data, settings)
    rates, losses, mean = list[float](), list[float](), 0.0
    for step in range(steps):
        rate = lowest * (highest / lowest) ** (step / (steps - 1))
        group = list(islice(batches, settings.schedule.accumulate_batches))  # of one update
        weights = [float(batch_weight(loss, batch.labels)) for batch in group]
        shares = [weight / sum(weights) for weight in weights]
        seed_step(mix_seeds(recipe.seed, 0, step), state.compute.device)
        group_loss = 0.0
        for position, batch in enumerate(group):
            with state.compute.autocast():
                batch_loss, _ = loss(state.network, batch.images, batch.labels)
            group_loss += shares[position] * batch_loss.item()
            if position < len(group) - 1 and math.isfinite(group_loss):
                state.update(batch_loss, rate, shares[position], ends_update=False)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * group_loss
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or (losses and smoothed > DIVERGED * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
        state.update(batch_loss, rate, shares[-1])
    return RateSearch(tuple(rates), tuple(losses), suggest_rate(rates, losses))


def endless_batches(data: Dataset, settings: Settings) -> Iterator[Batch]:
    """Yield training batches, epoch after epoch."""
    sampling, compute = settings.sampling, settings.machine.compute
    for epoch in count(1):
        order = order_of_epoch(settings, epoch, data.train)
        yield from training_batches(
            data.train, order, settings.images, settings.augmentation, compute, sampling.batch_size
        )


def suggest_rate(rates: list[float], losses: list[float]) -> float:
    """Return the rate nearest to a tenth of that with the lowest loss. Raises TrainingError when no loss fell."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    if lowest < 3 or losses[lowest] > (1 - MIN_FALL) * losses[0]:
        raise TrainingError("no learning rate made the loss fall; look at the data and the network first")
    return min(rates, key=lambda rate: abs(math.log(rate / (rates[lowest] / 10))))
