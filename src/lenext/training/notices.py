"""What a person should be told while training goes on, in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.schedule import is_warming_up
from lenext.training.settings import ScheduleSettings

CHANCE_EPOCHS = 2  # that end with the notice of a network at chance, from the first on that can tell
MIN_UPDATES = 200
"""Updates before which a network at chance is not told of.

By their own recipes lenet, lenet5, vgg11_32px, nin_32px and resnet18_32px have left chance after 30 to 140 updates on
MNIST or CIFAR-10 (20 % of the last 20 batches right). VGG-11 in the documents was still there after 3 epochs of 391.
"""
CONFIDENCE = 0.95  # of what is said of accuracies, one-sided
STANDARD_ERRORS = 1.645  # the same, of a normal distribution
GAP = 0.08  # of accuracy, between training and validation, from which on it is told
COLLAPSE = 0.7  # of the best accuracy
MISCALIBRATION = 0.03
"""Expected calibration error from which on it is told: networks after temperature scaling have 1 to 2 %, many before it
4 to 10 % (Guo et al., arXiv:1706.04599, table 1)."""

SOFTENED = ("label_smoothing", "mixup", "cutmix")  # keys of a recipe that spread the targets over classes


@dataclass(frozen=True)
class Samples:
    """The sizes that say how far a run's accuracies can be trusted.

    Attributes:
        classes: how many there are.
        largest_share: of the largest class; a network that guesses reaches at most this.
        train: training samples per epoch.
        validation: validation samples; 0 where there are none.
    """

    classes: int
    largest_share: float
    train: int
    validation: int = 0

    @property
    def measured(self) -> int:
        """How many samples an epoch's accuracy is of."""
        return self.validation or self.train


def measured_accuracy(record: Record) -> float:
    """Return the validation accuracy, or the training accuracy where nothing was validated."""
    return record.train_accuracy if record.val_accuracy is None else record.val_accuracy


def at_chance(record: Record, samples: Samples) -> bool:
    """Whether an epoch ended as guessing would.

    Its accuracies in training and validation are within the one-sided binomial bound of guessing, at least one of them
    on enough samples to tell a network that is right twice as often, and its loss is near the logarithm of the number
    of classes.
    """
    loss = record.train_loss if record.val_loss is None else record.val_loss
    if loss <= 0.98 * math.log(samples.classes):
        return False
    parts = [(record.train_accuracy, samples.train)]
    parts += [] if record.val_accuracy is None else [(record.val_accuracy, samples.validation)]
    bounds = [chance_bound(count, samples.largest_share) for _, count in parts]
    within = all(round(accuracy * count) <= bound for (accuracy, count), (bound, _) in zip(parts, bounds, strict=True))
    return within and any(can_tell for _, can_tell in bounds)


def chance_bound(count: int, chance: float) -> tuple[int, bool]:
    """Return how many of so many samples guessing gets right at most, and whether a network that is right twice as
    often (half-way to all, where guessing is right often) is above that; both with 95 % probability."""
    from scipy.stats import binom

    bound = int(binom.ppf(CONFIDENCE, count, chance))
    better = min(2 * chance, (1 + chance) / 2)
    return bound, float(binom.cdf(bound, count, better)) <= 1 - CONFIDENCE


def can_tell_chance(recipe: Recipe, batches: int, epoch: int) -> bool:
    """Whether a network that learns would have left chance by the end of an epoch: its learning rate has been up, and
    there were enough updates."""
    schedule = ScheduleSettings.from_recipe(recipe, batches)
    updates = min(epoch * schedule.length.updates_per_epoch, schedule.length.updates)
    return updates >= MIN_UPDATES and not is_warming_up(schedule, epoch)


def chance_notice(records: Sequence[Record], samples: Samples, recipe: Recipe, batches: int, normed: bool) -> str:
    """Return what to do about a network that does not learn; empty where it does, or where it is too early to tell.

    Args:
        records: one per epoch.
        samples: the run's sizes.
        recipe: the run's recipe.
        batches: per epoch.
        normed: whether the network has normalization layers.
    """
    last = records[-1]
    earlier = last.epoch - CHANCE_EPOCHS
    if not can_tell_chance(recipe, batches, last.epoch) or can_tell_chance(recipe, batches, earlier):
        return ""
    if not all(at_chance(record, samples) for record in records):
        return ""
    rate = recipe.with_defaults().learning_rate
    advice = [f"a learning_rate other than {rate:g} (a tenth of it first)"]
    advice += [] if normed else ["a variant with batch norm (vgg11_bn, ..., or one that ends in _32px)"]
    advice += ["initialization=kaiming"] if recipe.initialization == "default" and not normed else []
    each, total = recipe.length(batches)
    after = f"after {last.epoch} epoch{'s' * (last.epoch > 1)}"
    stop = "stop it (Ctrl-C) and " if last.epoch * each < total else ""
    guesses = f"the network still guesses ({samples.largest_share:.0%} is chance)"
    return f"{after} {guesses}; {stop}try {', or '.join(advice)}"


def differs(higher: float, higher_count: int, lower: float, lower_count: int) -> bool:
    """Whether an accuracy is above another beyond chance: a one-sided z-test of two proportions, pooled. Of no samples
    nothing is known."""
    if not higher_count or not lower_count:
        return False
    pooled = (higher * higher_count + lower * lower_count) / (higher_count + lower_count)
    error = math.sqrt(pooled * (1 - pooled) * (1 / higher_count + 1 / lower_count))
    return higher - lower > STANDARD_ERRORS * error


def gap_notice(records: Sequence[Record], samples: Samples) -> str:
    """Return a sentence about overfitting (71 against 60 % in D3); empty where the gap is small, or may be chance."""
    last = records[-1]
    accuracy = last.evaluated_train_accuracy if last.evaluated_train_accuracy is not None else last.train_accuracy
    if last.val_accuracy is None or accuracy - last.val_accuracy < GAP:
        return ""
    if not differs(accuracy, samples.train, last.val_accuracy, samples.validation):
        return ""
    return (
        f"it has learned training images by heart: {accuracy:.1%} of them right in the last epoch, but "
        f"{last.val_accuracy:.1%} of those for validation; more augmentation, weight decay or data help"
    )


def collapse_notice(records: Sequence[Record], samples: Samples) -> str:
    """Return a sentence about accuracy that was lost (NiN on MNIST in the documents: 92 to 26 %); empty where it was
    not, or may be chance."""
    best = max(records, key=measured_accuracy)
    highest, end = measured_accuracy(best), measured_accuracy(records[-1])
    if end > COLLAPSE * highest or highest - end < 0.1:
        return ""
    if not differs(highest, samples.measured, end, samples.measured):
        return ""
    rate = max(record.learning_rate for record in records)
    return (
        f"it collapsed: {highest:.1%} in epoch {best.epoch}, {end:.1%} at the end; a learning rate below {rate:.2g}, "
        "gradient_clip=1 or a warm-up keeps it"
    )


def noticed(records: Sequence[Record], samples: Samples) -> list[str]:
    """Return all that an ended training gives reason to say."""
    if not records:
        return []
    sentences = [collapse_notice(records, samples), gap_notice(records, samples)]
    if at_chance(records[-1], samples) and not sentences[0]:
        chance = f"{samples.largest_share:.0%}"
        sentences.append(f"it guesses: in the last epoch it was no better than chance ({chance})")
    return [sentence for sentence in sentences if sentence]


def calibration_notice(error: float, by_chance: float, confidence: float, accuracy: float, recipe: Recipe) -> str:
    """Return a sentence about probabilities that cannot be taken at their word; empty where they can.

    Args:
        error: the expected calibration error.
        by_chance: the error that a calibrated network stays below on these samples, with 95 % probability.
        confidence: the mean probability of the answers.
        accuracy: the share of them that is right.
        recipe: the run's recipe, in which the cause is looked for.
    """
    if error < MISCALIBRATION or error <= by_chance:
        return ""
    excess = confidence - accuracy
    if abs(excess) < error / 2:
        what, cause = "its probabilities are off, some too high and some too low", ""
    elif excess > 0:
        what = "it is more sure than it is right (overconfident)"
        cause = "; the usual cause is overfitting, against which fewer epochs, augmentation or label_smoothing=0.1 help"
    else:
        what = "it is less sure than it is right (underconfident)"
        softened = [f"{key}={value:g}" for key in SOFTENED if (value := getattr(recipe, key))]
        cause = f"; the likely cause is {' and '.join(softened)}, which softens the targets" if softened else ""
    return (
        f"{what}: the mean probability of its answers is {confidence:.1%}, and {accuracy:.1%} are right (expected "
        f"calibration error {error:.1%}){cause}. The accuracy stands; the probabilities are not chances of being right"
    )
