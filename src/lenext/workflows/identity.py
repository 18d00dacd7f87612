"""What makes a run the run that it is: its experiment, its samples, the parts of its network."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from lenext.data.dataset import Dataset
from lenext.data.pictures import PictureFiles
from lenext.foundation.errors import ConfigurationError
from lenext.training.recipe import Recipe

MAY_CHANGE = {
    "epochs",
    "save_minutes",
    "device",
    "threads",
    "compile",
    "tensorboard",
    "data",
    "test_data",
    "pretrained",
}
"""Keys that another machine, another place of the same files, or more epochs may ask for."""


def fingerprint(data: Dataset) -> str:
    """Of which pictures are in which split, with their labels: in memory by pixels, files by their sizes."""
    content = hashlib.sha256()
    for name, split in data.splits().items():
        content.update("\n".join([name, *map(str, split.ids.tolist())]).encode())
        content.update(split.labels.numpy().tobytes())
        if isinstance(split.images, PictureFiles):
            content.update(str([os.path.getsize(path) for path in split.images.paths]).encode())
        else:
            for rows in torch.arange(len(split)).split(5_000):
                content.update(split.images[rows].numpy().tobytes())
    return content.hexdigest()


def parts_of(network: nn.Module) -> set[str]:
    """The names of all that a checkpoint has of a network. Raises ConfigurationError for state that is no tensor."""
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigurationError(f"{type(network).__name__}: its {name} is no tensor, so no checkpoint can hold it")
    return {name for name, _ in (*network.named_parameters(), *network.named_buffers())}


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's keys with its recipe's beside them; keys of the recipe that are newer have their default."""
    return {key: value for key, value in settings.items() if key != "recipe"} | asdict(Recipe()) | settings["recipe"]
