"""What a person should be told while training goes on, in words."""

import math
from collections.abc import Sequence

from lenext.training.recipe import Recipe
from lenext.training.state import Record

CHANCE_AFTER = (1, 2)  # epochs after which a network still at chance is told


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
