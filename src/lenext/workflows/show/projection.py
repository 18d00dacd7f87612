"""The embedding of a split: the features before a network's last layer, projected to two dimensions."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenext.data.batches import batches
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.seeds import generator
from lenext.models.pretrained import find_head

Method = Literal["pca", "tsne"]
METHOD_NAMES: dict[Method, str] = {"pca": "PCA", "tsne": "t-SNE"}
MAX_TSNE_SAMPLES = 3_000  # t-SNE takes minutes for more
BATCH_SIZE = 64
FIGURE_COMPUTE = ("cpu", "fp32", "contiguous")  # so that a figure is the same on every machine


def draw_samples(split: Split, number: int) -> Split:
    """Return at most `number` samples of a split, drawn with a fixed seed, in their order."""
    if len(split) <= number:
        return split
    return split.take(torch.randperm(len(split), generator=generator(0))[:number].sort().values)


def head_features(module: nn.Module, split: Split, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return the input of the network's last layer for each sample, (N, features); maps are averaged."""
    head = dict(module.named_modules())[find_head(module)]
    features: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].float()
        features.append((value.mean((2, 3)) if value.ndim == 4 else value.flatten(1)).cpu())

    hook = head.register_forward_pre_hook(keep)
    try:
        with torch.inference_mode():
            for batch in batches(split, preprocessing, Compute.choose(*FIGURE_COMPUTE), BATCH_SIZE):
                module.eval()(batch.images)
    finally:
        hook.remove()
    return torch.cat(features).numpy()


def project(features: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Project features (N, features) to points (N, 2)."""
    if method == "pca":
        from sklearn.decomposition import PCA

        return np.asarray(PCA(2, random_state=0).fit_transform(features))
    from sklearn.manifold import TSNE

    perplexity = min(30, len(features) // 4)
    return np.asarray(TSNE(2, random_state=0, init="pca", perplexity=perplexity).fit_transform(features))
