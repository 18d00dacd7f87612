"""The identity of a run: its experiment, its samples, the parts of its network."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from lenext.data.dataset import Dataset, Split
from lenext.data.image_files import ImageFiles
from lenext.foundation.errors import ConfigurationError, DataError, RunError
from lenext.foundation.files import expand_path, open_regular, sha256
from lenext.models.user_network import is_user_network
from lenext.runs.folder import Run
from lenext.runs.weights import Description
from lenext.training.experiment import Experiment
from lenext.training.recipe import Recipe

MAY_CHANGE = {
    "epochs",
    "checkpoint_minutes",
    "device",
    "threads",
    "replicas",
    "compile",
    "tensorboard",
    "data",
    "test_data",
    "pretrained",
    "corrections",
}
"""Keys that may change in a run: for another machine, moved files, or more epochs."""


HASHED_BYTES = 1 << 20  # at the beginning of an image file, and as many at its end


def fingerprints(data: Dataset) -> dict[str, str]:
    """Return the fingerprint of each split, by its name."""
    return {name: split_fingerprint(name, split, data.source) for name, split in data.splits().items()}


def combine_fingerprints(each: Mapping[str, str]) -> str:
    """Return one fingerprint, a SHA-256, for those of all splits."""
    lines = (f"{name} {fingerprint}" for name, fingerprint in each.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def split_fingerprint(name: str, split: Split, source: Mapping[str, str]) -> str:
    """Return the fingerprint of a split: a SHA-256 over its ids, labels and content.

    Images in files count by their files, which no version of a decoder changes; others by their pixels.

    Args:
        name: Of the split; a test set may be of another source than the rest.
        split: The samples.
        source: Of the dataset.
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
    """Return the files of a split's images; none when they are not of a folder."""
    if isinstance(split.images, ImageFiles):
        return [Path(path) for path in split.images.paths]
    prefix = "test_" if name == "test" and "test_kind" in source else ""
    if source.get(f"{prefix}kind") != "folder":
        return []
    return [Path(source[f"{prefix}path"], sample) for sample in split.ids.tolist()]


def file_content(path: Path) -> bytes:
    """Return a file's size and a hash of its content; of a large one its beginning and end. Raises DataError."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(HASHED_BYTES)
            if size > HASHED_BYTES:
                file.seek(-HASHED_BYTES, os.SEEK_END)
                content += file.read(HASHED_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return size.to_bytes(8, "little") + hashlib.sha256(content).digest()


def parts_of(network: nn.Module) -> set[str]:
    """Return the names of all parts of a network that a checkpoint holds.

    Raises:
        ConfigurationError: A part of its state is not a tensor.
    """
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise ConfigurationError(f"{type(network).__name__}: its {name} is no tensor, so no checkpoint can hold it")
    return {name for name, _ in (*network.named_parameters(), *network.named_buffers())}


def training_identity(experiment: Experiment, description: Description, samples: str) -> dict[str, Any]:
    """Return what a checkpoint belongs to.

    Args:
        experiment: What is trained.
        description: What prediction needs to know of the network.
        samples: The fingerprint of all splits.
    """
    named = replace(description, network=file_name(description.network))
    return {"experiment": yaml.safe_load(experiment.to_yaml()), "network": named.to_json(), "samples": samples}


def check_same_training(run: Run, saved: Mapping[str, Any], present: Mapping[str, Any], data: str) -> None:
    """Check that a checkpoint belongs to a training.

    Args:
        run: The run, for messages.
        saved: The identity in the checkpoint.
        present: The identity of the training.
        data: The name of the data, for messages.

    Raises:
        RunError: The run or its data have changed since the checkpoint was saved.
    """
    try:
        before = flat_keys(saved["experiment"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{run.checkpoints}: not a checkpoint of this version of lenext ({error!r})") from error
    after = flat_keys(present["experiment"])
    for key in sorted((before.keys() | after.keys()) - MAY_CHANGE):
        if before.get(key) != after.get(key):
            raise RunError(
                f"{run.path / 'recipe.yaml'}: {key} was {before.get(key)} when training stopped, now it is "
                f"{after.get(key)}; put it back, or train again"
            )
    for key, content in (("network", "the classes or the pixels' mean and deviation"), ("samples", "the samples")):
        if saved.get(key) != present[key]:
            raise RunError(f"{data}: {content} have changed since training stopped; restore the data")


def flat_keys(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's keys and those of its recipe; a key that the recipe lacks has its default."""
    outer = {key: value for key, value in experiment.items() if key != "recipe"}
    keys = outer | asdict(Recipe()) | experiment["recipe"]
    return keys | {"network": file_name(str(keys.get("network")))}


def file_name(network: str) -> str:
    """Return FILE.py:Class without the folder, which may be another one now."""
    return network.rpartition(os.sep)[2]


def differing_keys(experiment: Experiment, expected: Experiment) -> list[str]:
    """Return the keys in which a run's experiment is not the expected one, but for each `auto` that was resolved."""
    ours, theirs = flat_keys(asdict(experiment)), flat_keys(asdict(expected))
    for keys in (ours, theirs):
        keys["options"] = {key: list(v) if isinstance(v, tuple) else v for key, v in keys["options"].items()}
    return sorted(
        key for key in ours.keys() - MAY_CHANGE if ours[key] != theirs[key] and "auto" not in (ours[key], theirs[key])
    )


def fingerprint_sources(data: str, recipe: str, *networks: str) -> list[str]:
    """Return what a request depends on besides its words: recipe files, user-defined networks, data files."""
    fingerprints = []
    code = [network.rpartition(":")[0] or network for network in networks if is_user_network(network)]
    for text in (*code, recipe):
        if text and (path := expand_path(text)).is_file():
            fingerprints.append(f"{path.name} {sha256(path)[:16]}")
    if (path := expand_path(data)).is_file():
        fingerprints.append(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}")
    return fingerprints
