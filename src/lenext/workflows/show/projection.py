"""The embedding of a split: the features before a network's last layer, projected to two dimensions."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["pca", "tsne"]
METHOD_NAMES: dict[Method, str] = {"pca": "PCA", "tsne": "t-SNE"}
MAX_TSNE_SAMPLES = 3_000  # t-SNE takes minutes for more


def project(features: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Project features (N, features) to points (N, 2)."""
    if method == "pca":
        from sklearn.decomposition import PCA

        return np.asarray(PCA(2, random_state=0).fit_transform(features))
    from sklearn.manifold import TSNE

    perplexity = min(30, len(features) // 4)
    return np.asarray(TSNE(2, random_state=0, init="pca", perplexity=perplexity).fit_transform(features))
