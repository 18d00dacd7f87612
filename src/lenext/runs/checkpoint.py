"""Checkpoints: all that training needs to continue exactly, written so that a crash at any moment leaves a valid one.

A new checkpoint is written under a temporary name, flushed to disk, read back and then renamed; only then are older
checkpoints removed, except the last three. Each has its SHA-256, which is checked before anything in it is parsed.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from lenext.foundation.errors import RunError
from lenext.foundation.files import make_folder, remove_leftovers, sync_folder, write_atomic
from lenext.runs.signed import read_signed, unknown_format_error, write_signed

MAX_CHECKPOINTS = 3
KEY = "lenext_checkpoint"
FILE_NAME = re.compile(r"epoch-(\d{5,})-step-(\d{7,})\.safetensors")
BEST_PREFIX = "best-epoch-"


def save(folder: Path, tree: Mapping[str, Any], *, epoch: int, position: int) -> Path:
    """Write a checkpoint after `epoch` epochs and `position` steps of the next one; then remove the oldest."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(without_tensors(tree, "", tensors))
    path = folder / f"epoch-{epoch:05d}-step-{position:07d}.safetensors"
    make_folder(folder)
    write_signed(path, KEY, text, tensors, read_back=True)
    for old in list_checkpoints(folder)[MAX_CHECKPOINTS:]:
        with suppress(OSError):
            old.unlink()
    sync_folder(folder)
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises RunError for a file that is missing, changed, or not a checkpoint."""
    text, tensors = read_signed(path, KEY, "a checkpoint of lenext")
    try:
        return dict(with_tensors(json.loads(text), tensors))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unknown_format_error(path, error) from error


def load_newest(folder: Path, report: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """Load the newest valid checkpoint; broken ones are reported, and renamed once an older one is valid.

    Args:
        folder: Folder of the checkpoints.
        report: Takes a message for each broken checkpoint.

    Returns:
        The path and the content of the checkpoint; None if there are no checkpoints.

    Raises:
        RunError: All checkpoints are broken.
    """
    if folder.is_dir():
        remove_leftovers(folder)
    paths = list_checkpoints(folder)
    for index, path in enumerate(paths):
        try:
            content = load(path)
        except RunError as error:
            report(f"{error}; the checkpoint before it is used" if path != paths[-1] else str(error))
            continue
        for broken in paths[:index]:  # so that they no longer count among the last three
            with suppress(OSError):
                broken.rename(broken.with_suffix(".damaged"))
        return path, content
    if paths:
        raise RunError(f"{folder}: all {len(paths)} checkpoints are broken; train again with the run's recipe.yaml")
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first."""
    matches = {path: FILE_NAME.fullmatch(path.name) for path in folder.glob("epoch-*")}
    positions = {path: tuple(map(int, match.groups())) for path, match in matches.items() if match}
    return sorted(positions, key=lambda path: positions[path], reverse=True)


def keep_best(weights: Path, folder: Path, epoch: int) -> None:
    """Store the best weights by epoch too, as checkpoints refer to them; remove those that none can refer to."""
    copy = best_weights_path(folder, epoch)
    copy.unlink(missing_ok=True)
    try:
        os.link(weights, copy)
    except OSError:  # a file system without links
        write_atomic(copy, weights.read_bytes())
    for old in sorted(folder.glob(f"{BEST_PREFIX}*"), key=lambda path: (len(path.name), path.name))[
        : -MAX_CHECKPOINTS - 1
    ]:
        with suppress(OSError):
            old.unlink()


def best_weights_path(folder: Path, epoch: int) -> Path:
    """Return the path of the weights that were best as of an epoch."""
    return folder / f"{BEST_PREFIX}{epoch:05d}.safetensors"


def without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a tree for JSON, and put its tensors into `tensors` under names that say where they were."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    prefix = f"{name}." if name else ""
    if isinstance(value, Mapping):
        return {"items": {key: without_tensors(item, f"{prefix}{key}", tensors) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [without_tensors(item, f"{prefix}{index}", tensors) for index, item in enumerate(value)]
    return value


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that `without_tensors` took apart."""
    if isinstance(value, list):
        return [with_tensors(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: with_tensors(item, tensors) for key, item in value["items"].items()}
    return value
