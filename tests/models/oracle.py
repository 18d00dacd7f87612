"""torchvision beside a CPU-only torch: its wheels miss two compiled operators, which are only declared here."""

from functools import cache
from types import ModuleType

import torch


@cache
def torchvision_models() -> ModuleType:
    """torchvision.models."""
    library = torch.library.Library("torchvision", "DEF")
    for signature in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        try:
            library.define(signature)
        except RuntimeError:  # this torchvision has them
            break
    torchvision_models.library = library  # type: ignore[attr-defined]
    import torchvision

    return torchvision.models  # type: ignore[no-any-return]
