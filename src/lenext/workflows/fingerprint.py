"""What makes a run the run that it is: its experiment, its samples, the parts of its network."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lenext.data.dataset import Dataset, Split
from lenext.data.images import ImageFiles
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.files import open_regular
from lenext.training.recipe import Recipe

MAY_CHANGE = {
    "epochs",
    "checkpoint_minutes",
    "device",
    "threads",
    "compile",
    "tensorboard",
    "data",
    "test_data",
    "pretrained",
}
"""Keys that another machine, another place of the same files, or more epochs may ask for."""


WHOLE_BYTES = 1 << 20  # of an image file that count at its beginning, and as many at its end


def fingerprints(data: Dataset) -> dict[str, str]:
    """Return the fingerprint of each split, by its name."""
    return {name: split_fingerprint(name, split, data.source) for name, split in data.splits().items()}


def combined(each: Mapping[str, str]) -> str:
    """Return one fingerprint, a SHA-256, for those of all splits."""
    return hashlib.sha256("\n".join(f"{name} {one}" for name, one in each.items()).encode()).hexdigest()


def split_fingerprint(name: str, split: Split, source: Mapping[str, str]) -> str:
    """Return what tells a split from others: ids, labels and content, as a SHA-256.

    Images in files count by their files, which no version of a decoder changes; others by their pixels.

    Args:
        name: of the split; a test set may be of another source than the rest.
        source: of the data set.
    """
    digest = hashlib.sha256("\n".join(map(str, split.ids.tolist())).encode())
    digest.update(split.labels.numpy().tobytes())
    if paths := image_files(name, split, source):
        for path in paths:
            digest.update(file_content(path))
    else:
        for rows in torch.arange(len(split)).split(5_000):
            digest.update(split.images[rows].numpy().tobytes())
    return digest.hexdigest()


def image_files(name: str, split: Split, source: Mapping[str, str]) -> list[Path]:
    """Return the files that a split's images come from; none where they are not of a folder."""
    if isinstance(split.images, ImageFiles):
        return [Path(path) for path in split.images.paths]
    apart = "test_" if name == "test" and "test_kind" in source else ""
    if source.get(f"{apart}kind") != "folder":
        return []
    return [Path(source[f"{apart}path"], sample) for sample in split.ids.tolist()]


def file_content(path: Path) -> bytes:
    """Return a file's size and what is in it; of a large one its beginning and end. Raises DataError."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(WHOLE_BYTES)
            if size > WHOLE_BYTES:
                file.seek(-WHOLE_BYTES, os.SEEK_END)
                content += file.read(WHOLE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return size.to_bytes(8, "little") + hashlib.sha256(content).digest()


def parts_of(network: nn.Module) -> set[str]:
    """The names of all that a checkpoint has of a network. Raises ConfigurationError for state that is no tensor."""
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigurationError(f"{type(network).__name__}: its {name} is no tensor, so no checkpoint can hold it")
    return {name for name, _ in (*network.named_parameters(), *network.named_buffers())}


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's keys with its recipe's beside them; keys of the recipe that are newer have their default."""
    return {key: value for key, value in settings.items() if key != "recipe"} | asdict(Recipe()) | settings["recipe"]
