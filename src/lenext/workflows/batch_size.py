"""Whether a batch fits into memory, known before hours are lost; and the largest that does."""

from torch import nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.memory import available_bytes
from lenext.inspection.summary import summarize
from lenext.training.recipe import Recipe

MOST = 1024  # images a step that `auto` takes: more rarely train faster, and learn less from each
BY_WEIGHT = 16  # bytes a parameter needs: itself, its gradient, the optimizer's two averages


def find_batch_size(
    network: nn.Module, input_shape: tuple[int, int, int], compute: Compute, recipe: Recipe, images: int
) -> int:
    """The recipe's batch size; `auto` is the largest power of two, up to 1,024, that fits into the memory there is.

    images: that there are to train on; a step has no more. What it needs is estimated from what the backward pass
    keeps of one image, and what a layer has in hand. Raises ConfigurationError, with a
    size that fits, where one that was asked for is too large.
    """
    try:
        seen = summarize(network, input_shape)
    except (RuntimeError, TypeError, AttributeError, ValueError):  # a network of one's own that cannot be looked into
        if recipe.batch_size == "auto":
            raise ConfigurationError("batch_size=auto: this network cannot be measured; give a number") from None
        return recipe.batch_size
    kept = seen.training_bytes + seen.evaluation_bytes
    one = max(1.0, kept * (1 if compute.precision == "fp32" else 0.75))  # some layers stay fp32
    free = available_bytes(compute.device)
    fixed = BY_WEIGHT * seen.parameters
    most = int((free - fixed) / one)
    if most < 1:
        raise ConfigurationError(
            f"training needs about {(fixed + one) / 1e9:.1f} GB for one image, and {free / 1e9:.1f} GB are free; "
            "give a smaller --image-size, or a smaller network"
        )
    if recipe.batch_size == "auto":
        return min(MOST, 1 << (max(1, min(int(0.7 * most), images // 8)).bit_length() - 1))
    if min(recipe.batch_size, images) > most:
        needed, fits = (
            (fixed + one * min(recipe.batch_size, images)) / 1e9,
            1 << (max(1, int(0.9 * most)).bit_length() - 1),
        )
        raise ConfigurationError(
            f"batch_size={recipe.batch_size}: a step would need about {needed:.1f} GB, and {free / 1e9:.1f} GB are "
            f"free; --batch-size {fits} fits (with --accumulate-batches "
            f"{-(-recipe.batch_size // fits)} for the same updates)"
        )
    return recipe.batch_size
