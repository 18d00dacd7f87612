"""Checkpoints: all that training needs to go on exactly, written so that a crash at any moment leaves a good one.

A new one is written under another name, brought to the disk, read back and only then given its name; only then the
older ones go, but for the last three. Each has its SHA-256, which is checked before anything in it is parsed.
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

KEPT = 3
KEY = "lenext_checkpoint"
NAME = re.compile(r"epoch-(\d{5,})-step-(\d{7,})\.safetensors")
BEST = "best-epoch-"


def save(folder: Path, tree: Mapping[str, Any], *, epoch: int, position: int) -> Path:
    """Write what training has come to: `epoch` epochs, and `position` steps of the next. Then remove the oldest."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(without_tensors(tree, "", tensors))
    path = folder / f"epoch-{epoch:05d}-step-{position:07d}.safetensors"
    make_folder(folder)
    write_signed(path, KEY, text, tensors, read_back=True)
    for old in newest_first(folder)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    sync_folder(folder)
    return path


def load(path: Path) -> dict[str, Any]:
    """The tree that was saved. Raises RunError for a file that is missing, changed, or no checkpoint."""
    text, tensors = read_signed(path, KEY, "a checkpoint of lenext")
    try:
        return dict(with_tensors(json.loads(text), tensors))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unknown_format_error(path, error) from error


def load_newest(folder: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole; a broken one is told of, and the one before it taken. None where there never
    was one; RunError where all are broken."""
    if folder.is_dir():
        remove_leftovers(folder)
    there = newest_first(folder)
    for path in there:
        try:
            found = load(path)
        except RunError as error:
            say(f"{error}; the one before it is taken" if path != there[-1] else str(error))
            continue
        for broken in there[: there.index(path)]:  # so that it counts no more among those that are kept
            with suppress(OSError):
                broken.rename(broken.with_suffix(".damaged"))
        return path, found
    if there:
        raise RunError(
            f"{folder}: none of the {len(there)} checkpoints is whole; train anew with the run's recipe.yaml"
        )
    return None


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder."""
    found = {path: NAME.fullmatch(path.name) for path in folder.glob("epoch-*")}
    order = {path: tuple(map(int, match.groups())) for path, match in found.items() if match}
    return sorted(order, key=lambda path: order[path], reverse=True)


def keep_best(weights: Path, folder: Path, epoch: int) -> None:
    """Keep the best weights under their epoch, too, as the checkpoints refer to them by it: as many as may be meant."""
    kept = best_of(folder, epoch)
    kept.unlink(missing_ok=True)
    try:
        os.link(weights, kept)
    except OSError:  # a file system without links
        write_atomic(kept, weights.read_bytes())
    for old in sorted(folder.glob(f"{BEST}*"), key=lambda path: (len(path.name), path.name))[: -KEPT - 1]:
        with suppress(OSError):
            old.unlink()


def best_of(folder: Path, epoch: int) -> Path:
    """Where the weights that were best in an epoch are kept."""
    return folder / f"{BEST}{epoch:05d}.safetensors"


def without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON has it; its tensors are put apart, under names that tell where they were."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    inside = f"{name}." if name else ""
    if isinstance(value, Mapping):
        return {"items": {key: without_tensors(item, f"{inside}{key}", tensors) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [without_tensors(item, f"{inside}{at}", tensors) for at, item in enumerate(value)]
    return value


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that `without_tensors` took apart."""
    if isinstance(value, list):
        return [with_tensors(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: with_tensors(item, tensors) for key, item in value["items"].items()}
    return value
