"""The learning rate found by trying: a copy of the network is trained while the rate rises from tiny to huge."""

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice

from torch import nn

from lenext.data.batches import training_batches
from lenext.data.dataset import Dataset
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import TrainingError
from lenext.foundation.seeds import mix_seeds
from lenext.training.loop import preprocessing, sample_images, split_by_recipe
from lenext.training.losses import batch_weight, default_loss
from lenext.training.passes import augmentation, set_training, size_of_batch, use_seed
from lenext.training.recipe import Recipe
from lenext.training.state import TrainingState

MEMORY = 0.9  # of the running mean that smooths the losses
LOST = 3.0  # times the best smoothed loss: training has come apart


@dataclass(frozen=True)
class RateSearch:
    """rates: as they were tried, rising (Smith, arXiv:1506.01186). losses: the smoothed loss after each. suggestion: a
    tenth of the rate with the lowest loss, where it still falls well, for the highest rate of a schedule."""

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
    prepare: Preprocessing | None = None,
) -> RateSearch:
    """Try rates from `lowest` to `highest`, one a step; the network itself is left alone. Ends early where the loss is
    three times the best, or not finite. Raises TrainingError where no rate made it fall."""
    data, recipe = split_by_recipe(data, recipe), replace(recipe.with_defaults(), ema_decay=0.0)
    prepare, augment = prepare or preprocessing(data, recipe), augmentation(data, recipe)
    state = TrainingState.begin(copy.deepcopy(network), recipe, partial(sample_images, data, prepare))
    loss = default_loss(recipe, data.train.labels.to(state.compute.device), len(data.classes))
    set_training(state.network)
    batch_size = size_of_batch(recipe)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    batches = (
        batch
        for epoch in count(1)
        for batch in training_batches(
            data.train, prepare, augment, state.compute, batch_size=batch_size, seed=recipe.seed, epoch=epoch,
            shuffle=recipe.shuffle, balanced=recipe.balanced_sampling,
        )
    )  # fmt: skip
    for step in range(steps):
        rate = lowest * (highest / lowest) ** (step / (steps - 1))
        group = list(islice(batches, recipe.accumulate_batches))  # of one update
        weights = [float(batch_weight(loss, labels)) for _, labels in group]
        shares = [weight / sum(weights) for weight in weights]
        use_seed(mix_seeds(recipe.seed, 0, step), state.compute.device)
        seen = 0.0
        for at, (images, labels) in enumerate(group):
            with state.compute.autocast():
                value, _ = loss(state.network, images, labels)
            seen += shares[at] * value.item()
            if at < len(group) - 1 and math.isfinite(seen):
                state.update(value, rate, shares[at], due=False)
        mean = MEMORY * mean + (1 - MEMORY) * seen
        smoothed = mean / (1 - MEMORY ** (step + 1))
        if not math.isfinite(smoothed) or (losses and smoothed > LOST * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
        state.update(value, rate, shares[-1])
    return RateSearch(tuple(rates), tuple(losses), tenth_of_lowest(rates, losses))


def tenth_of_lowest(rates: list[float], losses: list[float]) -> float:
    """Of the rates tried, the one nearest to a tenth of that with the lowest loss. Raises TrainingError where the loss
    never fell."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    if lowest < 3 or losses[lowest] > 0.99 * losses[0]:
        raise TrainingError("no learning rate made the loss fall; look at the data and the network first")
    return min(rates, key=lambda rate: abs(math.log(rate / (rates[lowest] / 10))))
