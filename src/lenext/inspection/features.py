"""The features of images: what a network's last layer is given, a vector an image."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lenext.data.batches import batches
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.modes import evaluation_mode
from lenext.models.pretrained import find_head

BATCH_SIZE = 64


@contextmanager
def watch_features(module: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list that gets the features (N, D) of each forward pass; maps are averaged."""
    features: list[Tensor] = []
    head = dict(module.named_modules())[find_head(module)]

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].float()
        features.append((value.mean((2, 3)) if value.ndim == 4 else value.flatten(1)).cpu())

    hook = head.register_forward_pre_hook(keep)
    try:
        yield features
    finally:
        hook.remove()


def head_features(module: nn.Module, split: Split, preprocessing: Preprocessing, compute: Compute) -> Tensor:
    """Return the features of each sample of a split, (N, D)."""
    with watch_features(module) as features, evaluation_mode(module), torch.inference_mode(), compute.autocast():
        for batch in batches(split, preprocessing, compute, BATCH_SIZE):
            module(batch.images)
    return torch.cat(features)
