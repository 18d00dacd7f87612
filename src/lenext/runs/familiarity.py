"""The familiarity of an image, by its features: the distance to the nearest training images.

A run keeps the features of some training images beside its weights. An image whose features lie farther from them than
those of 99 % of the validation images is unlike what the network knows. Source: Sun et al. 2022, arXiv:2204.06507.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lenext.foundation.errors import LenextError
from lenext.runs.layout import FEATURES
from lenext.runs.signed import read_signed, write_signed

KEY = "lenext-features"
NEIGHBOURS = 3
FAMILIAR_SHARE = 0.99  # of the validation images


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The features of training images, and the distance from which an image is unlike them.

    Attributes:
        features: Of unit length, (N, D), fp16.
        limit: Distance to the NEIGHBOURS-th nearest of them within which FAMILIAR_SHARE of the validation images lie.
    """

    features: Tensor
    limit: float

    @classmethod
    def measure(cls, training: Tensor, validation: Tensor) -> "Familiarity":
        """Build it from the features of training images (N, D) and of other images (M, D)."""
        unit = F.normalize(training, dim=1).half()
        limit = torch.quantile(nearest_distances(validation, unit), FAMILIAR_SHARE)
        return cls(unit, float(limit))

    def is_unlike(self, features: Tensor) -> list[bool]:
        """Return for each image, by its features (M, D), whether it is unlike the training images."""
        if features.shape[1] != self.features.shape[1]:
            return [False] * len(features)
        return (nearest_distances(features, self.features) > self.limit).tolist()

    def save(self, folder: Path) -> None:
        """Write it into a run's folder of weights."""
        write_signed(folder / FEATURES, KEY, "{}", {"features": self.features, "limit": torch.tensor(self.limit)})

    @classmethod
    def load(cls, folder: Path) -> "Familiarity | None":
        """Read it from a run's folder of weights; None where there is none, or a damaged one."""
        if not (folder / FEATURES).is_file():
            return None
        try:
            _, tensors = read_signed(folder / FEATURES, KEY, "the features of a run")
            features, limit = tensors["features"], float(tensors["limit"])
        except (LenextError, LookupError, ValueError, RuntimeError):
            return None
        return cls(features, limit) if features.ndim == 2 and len(features) >= NEIGHBOURS else None


def nearest_distances(features: Tensor, reference: Tensor) -> Tensor:
    """Return the distance of each of (M, D) features, at unit length, to the NEIGHBOURS-th nearest reference, (M,)."""
    distances = torch.cdist(F.normalize(features.float(), dim=1), reference.float())
    return distances.kthvalue(min(NEIGHBOURS, len(reference)), dim=1).values
