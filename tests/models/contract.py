"""The parameter counts, parameter names and stage shapes of each variant, as they were checked against its oracle.

`python -m tests.models.contract` writes contract.json again; a change in it is a change for users, and must be meant.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lenext.inspection.summary import summarize
from lenext.models import MODELS, create, find_variant

FILE = Path(__file__).with_name("contract.json")
SIZES = {
    "alexnet": 64, "alexnet_d2l": 96, "vgg11": 32, "vgg11_bn": 32, "vgg11_quarter": 32, "nin": 96, "googlenet": 32,
    "googlenet_paper": 32, "resnet18": 32, "resnet18_d2l": 32, "densenet121": 32, "densenet_d2l": 32,
    "convnext_tiny": 32,
}  # fmt: skip
"""The smallest of each family and kind that is made for larger images, at a size that fits."""


def identity(name: str, channels: int, classes: int) -> dict[str, Any]:
    """Return the number of parameters, and a hash of their names and shapes in order."""
    with torch.device("meta"):
        network = create(name, in_channels=channels, num_classes=classes)
    entries = [f"{key} {tuple(value.shape)}" for key, value in network.state_dict().items()]
    digest = hashlib.sha256("\n".join(entries).encode()).hexdigest()
    return {"parameters": sum(parameter.numel() for parameter in network.parameters()), "names": digest[:16]}


def stages(name: str) -> list[str]:
    """Return the shapes that a small image takes on its way, as `lenext summary --by stage` lists them."""
    size = SIZES.get(name, find_variant(name).image_size)
    data_options = {"image_size": size} if "image_size" in find_variant(name).parameters() else {}
    network: nn.Module = create(name, in_channels=3, num_classes=5, **data_options)
    return ["x".join(map(str, stage.output_shape)) for stage in summarize(network, (3, size, size)).stages()]


if __name__ == "__main__":
    contract = {
        name: {"1 channel, 7 classes": identity(name, 1, 7), "3 channels, 10 classes": identity(name, 3, 10)}
        | ({"stages": stages(name)} if name in SIZES or find_variant(name).image_size <= 64 else {})
        for name in MODELS
    }
    FILE.write_text(json.dumps(contract, indent=1) + "\n")
