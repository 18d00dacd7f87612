"""Whether a batch fits into memory, and the largest batch that does."""

import math

from torch import nn

from lenext.foundation.arithmetic import power_of_two
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.memory import available_bytes
from lenext.inspection.summary import summarize
from lenext.training.recipe import Recipe

MAX_AUTO_BATCH = 1024  # samples: larger batches rarely train faster, and learn less from each sample
BYTES_PER_PARAMETER = 16  # itself, its gradient, the optimizer's two averages


def find_batch_size(
    network: nn.Module, input_shape: tuple[int, int, int], compute: Compute, recipe: Recipe, samples: int
) -> int:
    """Return the recipe's batch size; `auto` is the largest power of two, up to 1,024, that fits into free memory.

    The memory of a step is estimated from what the backward pass keeps of one image, and what a layer holds.

    Args:
        network: What is trained.
        input_shape: (C, H, W).
        compute: Where it is trained.
        recipe: How it is trained.
        samples: The size of the training set; a batch has no more.

    Raises:
        ConfigurationError: The batch does not fit; the message names one that does.
    """
    try:
        summary = summarize(network, input_shape)
    except (RuntimeError, TypeError, AttributeError, ValueError):  # a user-defined network that cannot be traced
        if recipe.batch_size == "auto":
            raise ConfigurationError("batch_size=auto: this network cannot be measured; give a number") from None
        return recipe.batch_size
    factor = 1 if compute.precision == "fp32" else 0.75  # some layers stay fp32
    per_sample = max(1.0, factor * (summary.training_bytes + summary.evaluation_bytes))
    free, fixed = available_bytes(compute.device), BYTES_PER_PARAMETER * summary.parameters
    limit = int((free - fixed) / per_sample)
    if limit < 1:
        raise ConfigurationError(
            f"training needs about {(fixed + per_sample) / 1e9:.1f} GB for one image, and {free / 1e9:.1f} GB are "
            "free; give a smaller --image-size, or a smaller network"
        )
    if recipe.batch_size == "auto":
        return min(MAX_AUTO_BATCH, power_of_two(min(int(0.7 * limit), samples // 8)))
    batch_size = min(recipe.batch_size, samples)
    if batch_size > limit:
        fitting, needed = power_of_two(int(0.9 * limit)), (fixed + per_sample * batch_size) / 1e9
        raise ConfigurationError(
            f"batch_size={recipe.batch_size}: a step would need about {needed:.1f} GB, and {free / 1e9:.1f} GB are "
            f"free; --batch-size {fitting} fits (with --accumulate-batches "
            f"{math.ceil(recipe.batch_size / fitting)} for the same updates)"
        )
    return recipe.batch_size
