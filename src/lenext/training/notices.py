"""What a person should be told while training goes on, in words."""

import math
from collections.abc import Sequence

from lenext.training.recipe import Recipe
from lenext.training.state import Record

CHANCE_AFTER = (1, 2)  # epochs after which a network still at chance is told
GAP = 0.08  # of accuracy, between training and validation, from which on it is told
COLLAPSE = 0.7  # of the best accuracy


def at_chance(record: Record, share: float, classes: int) -> bool:
    """Whether an epoch ended as guessing would: accuracy near the largest class's share, loss near its entropy at best.

    share: of the largest class. The loss of guessing is at most the logarithm of the number of classes.
    """
    accuracy = record.train_accuracy if record.val_accuracy is None else record.val_accuracy
    loss = record.train_loss if record.val_loss is None else record.val_loss
    return accuracy < share + 0.03 and loss > 0.98 * math.log(classes)


def chance_notice(records: Sequence[Record], share: float, classes: int, recipe: Recipe, normed: bool) -> str:
    """What to do about a network that does not learn; empty where it does. normed: whether it has norms."""
    last = records[-1]
    if last.epoch not in CHANCE_AFTER or not all(at_chance(record, share, classes) for record in records):
        return ""
    rate = recipe.settled().learning_rate
    advice = [f"a learning_rate other than {rate:g} (a tenth of it first)"]
    advice += [] if normed else ["a variant with batch norm (vgg11_bn, ..., or one that ends in _32px)"]
    advice += ["initialization=kaiming"] if recipe.initialization == "default" and not normed else []
    said = f"after {last.epoch} epoch{'s' * (last.epoch > 1)} the network still guesses ({share:.0%} is chance)"
    return f"{said}; stop it (Ctrl-C) and try {', or '.join(advice)}"


def gap_notice(records: Sequence[Record]) -> str:
    """Overfitting, in words: far more training pictures right than others (D3: 71 against 60 %)."""
    last = records[-1]
    seen = last.evaluated_train_accuracy if last.evaluated_train_accuracy is not None else last.train_accuracy
    if last.val_accuracy is None or seen - last.val_accuracy < GAP:
        return ""
    return (
        f"it has learned training pictures by heart: {seen:.1%} of them right in the last epoch, but "
        f"{last.val_accuracy:.1%} of those for validation; more augmentation, weight decay or data help"
    )


def collapse_notice(records: Sequence[Record]) -> str:
    """Accuracy that was there and was lost (NiN on MNIST in the documents: 92 to 26 %)."""
    known = [(one.val_accuracy if one.val_accuracy is not None else one.train_accuracy, one) for one in records]
    best, where = max(known, key=lambda pair: pair[0])
    end = known[-1][0]
    if end > COLLAPSE * best or best - end < 0.1:
        return ""
    rate = max(one.learning_rate for one in records)
    return (
        f"it collapsed: {best:.1%} in epoch {where.epoch}, {end:.1%} at the end; a learning rate below {rate:.2g}, "
        "gradient_clip=1 or a warm-up keeps it"
    )


def noticed(records: Sequence[Record], share: float, classes: int) -> list[str]:
    """All that an ended training gives reason to say. share: of the largest class."""
    if not records:
        return []
    found = [collapse_notice(records), gap_notice(records)]
    if at_chance(records[-1], share, classes) and not found[0]:
        found.append(f"it guesses: in the last epoch it was no better than chance ({share:.0%})")
    return [one for one in found if one]
