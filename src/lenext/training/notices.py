"""Notices about a training in progress or at its end: chance level, overfitting, collapse, calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.schedule import is_warming_up
from lenext.training.settings import ScheduleSettings

CHANCE_EPOCHS = 2  # epochs that end with the notice of a network at chance level, from the first possible one
MIN_UPDATES = 200
"""Updates before which a network at chance level is not reported.

By their own recipes lenet, lenet5, vgg11_32px, nin_32px and resnet18_32px have left chance after 30 to 140 updates on
MNIST or CIFAR-10 (20 % of the last 20 batches right). VGG-11 in the documents was still there after 3 epochs of 391.
"""
CONFIDENCE = 0.95  # of statements about accuracies, one-sided
STANDARD_ERRORS = 1.645  # the same, of a normal distribution
OVERFITTING_GAP = 0.08  # of accuracy, between training and validation
COLLAPSED_SHARE = 0.7  # of the best accuracy
MIN_CALIBRATION_ERROR = 0.03
"""Expected calibration error from which it is reported. Networks after temperature scaling have 1 to 2 %, many before
it 4 to 10 % (Guo et al., arXiv:1706.04599, table 1)."""

TARGET_SOFTENING_KEYS = ("label_smoothing", "mixup", "cutmix")  # keys of a recipe that spread the targets over classes


@dataclass(frozen=True)
class Samples:
    """The numbers of samples on which the certainty of a run's accuracies depends.

    Attributes:
        classes: Number of classes.
        largest_share: Fraction of the largest class; guessing reaches at most this accuracy.
        train: Training samples per epoch.
        validation: Validation samples; 0 for none.
    """

    classes: int
    largest_share: float
    train: int
    validation: int = 0

    @property
    def measured(self) -> int:
        """The number of samples of an epoch's accuracy."""
        return self.validation or self.train


def measured_accuracy(record: Record) -> float:
    """Return the validation accuracy, or the training accuracy without validation."""
    return record.train_accuracy if record.val_accuracy is None else record.val_accuracy


def at_chance(record: Record, samples: Samples) -> bool:
    """Return whether an epoch ended at chance level.

    Its accuracies in training and validation are within the one-sided binomial bound of guessing, at least one of them
    on enough samples to detect a network that is right twice as often, and its loss is near the logarithm of the number
    of classes.
    """
    loss = record.train_loss if record.val_loss is None else record.val_loss
    if loss <= 0.98 * math.log(samples.classes):
        return False
    parts = [(record.train_accuracy, samples.train)]
    parts += [] if record.val_accuracy is None else [(record.val_accuracy, samples.validation)]
    bounds = [chance_bound(count, samples.largest_share) for _, count in parts]
    is_within = all(
        round(accuracy * count) <= bound for (accuracy, count), (bound, _) in zip(parts, bounds, strict=True)
    )
    return is_within and any(is_decisive for _, is_decisive in bounds)


def chance_bound(count: int, chance: float) -> tuple[int, bool]:
    """Return the bound of correct guesses, and whether a better network exceeds it; both with 95 % probability.

    A better network is right twice as often (or half-way to always, when guessing is right often).

    Args:
        count: Number of samples.
        chance: Probability of a correct guess.
    """
    from scipy.stats import binom

    bound = int(binom.ppf(CONFIDENCE, count, chance))
    better = min(2 * chance, (1 + chance) / 2)
    return bound, float(binom.cdf(bound, count, better)) <= 1 - CONFIDENCE


def is_chance_decidable(recipe: Recipe, batches: int, epoch: int) -> bool:
    """Return whether a network that learns would be above chance level by the end of an epoch.

    Its learning rate has risen, and there were enough updates.
    """
    schedule = ScheduleSettings.from_recipe(recipe, batches)
    updates = min(epoch * schedule.length.updates_per_epoch, schedule.length.updates)
    return updates >= MIN_UPDATES and not is_warming_up(schedule, epoch)


def chance_notice(records: Sequence[Record], samples: Samples, recipe: Recipe, batches: int, has_norms: bool) -> str:
    """Return what to do about a network that does not learn; empty when it does, or when it is too early to know.

    Args:
        records: One per epoch.
        samples: Numbers of samples.
        recipe: Of the run.
        batches: Per epoch.
        has_norms: Whether the network has normalization layers.
    """
    last = records[-1]
    earlier = last.epoch - CHANCE_EPOCHS
    if not is_chance_decidable(recipe, batches, last.epoch) or is_chance_decidable(recipe, batches, earlier):
        return ""
    if not all(at_chance(record, samples) for record in records):
        return ""
    rate = recipe.with_defaults().learning_rate
    advice = [f"a learning_rate other than {rate:g} (a tenth of it first)"]
    advice += [] if has_norms else ["a variant with batch norm (vgg11_bn, ..., or one that ends in _32px)"]
    advice += ["initialization=kaiming"] if recipe.initialization == "default" and not has_norms else []
    each, total = recipe.length(batches)
    after = f"after {last.epoch} epoch{'s' * (last.epoch > 1)}"
    stop = "stop it (Ctrl-C) and " if last.epoch * each < total else ""
    guesses = f"the network still guesses ({samples.largest_share:.0%} is chance)"
    return f"{after} {guesses}; {stop}try {', or '.join(advice)}"


def is_significantly_higher(higher: float, higher_count: int, lower: float, lower_count: int) -> bool:
    """Return whether an accuracy is significantly above another, by a pooled one-sided z-test of two proportions."""
    if not higher_count or not lower_count:
        return False
    pooled = (higher * higher_count + lower * lower_count) / (higher_count + lower_count)
    error = math.sqrt(pooled * (1 - pooled) * (1 / higher_count + 1 / lower_count))
    return higher - lower > STANDARD_ERRORS * error


def gap_notice(records: Sequence[Record], samples: Samples) -> str:
    """Return a sentence about overfitting (71 against 60 % in D3); empty when the gap is small, or may be chance."""
    last = records[-1]
    accuracy = last.evaluated_train_accuracy if last.evaluated_train_accuracy is not None else last.train_accuracy
    if last.val_accuracy is None or accuracy - last.val_accuracy < OVERFITTING_GAP:
        return ""
    if not is_significantly_higher(accuracy, samples.train, last.val_accuracy, samples.validation):
        return ""
    return (
        f"it has learned training images by heart: {accuracy:.1%} of them right in the last epoch, but "
        f"{last.val_accuracy:.1%} of those for validation; more augmentation, weight decay or data help"
    )


def collapse_notice(records: Sequence[Record], samples: Samples) -> str:
    """Return a sentence about a collapse (NiN on MNIST in the documents: 92 to 26 %); empty without one."""
    best = max(records, key=measured_accuracy)
    highest, end = measured_accuracy(best), measured_accuracy(records[-1])
    if end > COLLAPSED_SHARE * highest or highest - end < 0.1:
        return ""
    if not is_significantly_higher(highest, samples.measured, end, samples.measured):
        return ""
    rate = max(record.learning_rate for record in records)
    return (
        f"it collapsed: {highest:.1%} in epoch {best.epoch}, {end:.1%} at the end; a learning rate below {rate:.2g}, "
        "gradient_clip=1 or a warm-up keeps it"
    )


def final_notices(records: Sequence[Record], samples: Samples) -> list[str]:
    """Return the notices of a training that has ended."""
    if not records:
        return []
    sentences = [collapse_notice(records, samples), gap_notice(records, samples)]
    if at_chance(records[-1], samples) and not sentences[0]:
        chance = f"{samples.largest_share:.0%}"
        sentences.append(f"it guesses: in the last epoch it was no better than chance ({chance})")
    return [sentence for sentence in sentences if sentence]


def calibration_notice(error: float, by_chance: float, confidence: float, accuracy: float, recipe: Recipe) -> str:
    """Return a sentence about miscalibrated probabilities; empty when they are calibrated.

    Args:
        error: The expected calibration error.
        by_chance: The error that a calibrated network stays below on these samples, with 95 % probability.
        confidence: The mean probability of the predicted classes.
        accuracy: The fraction of correct predictions.
        recipe: Of the run, in which the cause is looked for.
    """
    if error < MIN_CALIBRATION_ERROR or error <= by_chance:
        return ""
    excess = confidence - accuracy
    if abs(excess) < error / 2:
        statement, cause = "its probabilities are off, some too high and some too low", ""
    elif excess > 0:
        statement = "it is more sure than it is right (overconfident)"
        cause = "; the usual cause is overfitting, against which fewer epochs, augmentation or label_smoothing=0.1 help"
    else:
        statement = "it is less sure than it is right (underconfident)"
        softened = [f"{key}={value:g}" for key in TARGET_SOFTENING_KEYS if (value := getattr(recipe, key))]
        cause = f"; the likely cause is {' and '.join(softened)}, which softens the targets" if softened else ""
    return (
        f"{statement}: the mean probability of its answers is {confidence:.1%}, and {accuracy:.1%} are right (expected "
        f"calibration error {error:.1%}){cause}. The accuracy stands; the probabilities are not chances of being right"
    )
