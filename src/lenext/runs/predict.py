"""Predict the classes of image files, which are preprocessed exactly as the training images were."""

import glob
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lenext.acceleration.placement import place_network
from lenext.data.adjustment import Adjustment
from lenext.data.batches import batches
from lenext.data.dataset import Split
from lenext.data.images import ImageFiles, is_image
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import DataError
from lenext.foundation.files import expand_path
from lenext.foundation.settings import OnBadImage
from lenext.inspection.features import watch_features
from lenext.runs.familiarity import Familiarity
from lenext.runs.remarks import UNLIKE, remarks_on

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """An image's most probable classes, the most probable first, with their probabilities.

    Attributes:
        path: The file.
        classes: The most probable classes.
        probabilities: Their probabilities.
        remarks: Why the prediction may be wrong: it is unsure, or the image is unlike the training images.
        engine: What computed it, and its precision.
    """

    path: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    remarks: tuple[str, ...] = ()
    engine: str = ""


def find_images(sources: Sequence[str | Path]) -> list[str]:
    """Return the images of files, folders (with all below them) and globs, in order. Raises DataError for none."""
    paths: list[str] = []
    for source in map(str, sources):
        path = expand_path(source)
        if path.is_dir():
            files = [str(file) for file in sorted(path.rglob("*")) if is_image(file) and is_visible(file, path)]
            if not files:
                raise DataError(f"{source}: no images in this folder")
            paths += files
        elif path.is_file():
            paths.append(str(path))
        elif path.exists():
            raise DataError(f"{source}: neither a file nor a folder; give image files")
        elif matches := sorted(glob.glob(str(path), recursive=True)):
            paths += [match for match in matches if is_image(Path(match))]
        else:
            raise DataError(f"{source}: there is no such image, folder or glob")
    if not paths:
        raise DataError(f"{', '.join(map(str, sources))}: no images found")
    return paths


def is_visible(file: Path, folder: Path) -> bool:
    """Return whether a path is a file that is not below a hidden folder."""
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def predict_images(
    network: nn.Module,
    prepare: Preprocessing,
    classes: Sequence[str],
    paths: Sequence[str],
    *,
    top: int = 1,
    compute: Compute,
    on_bad_image: OnBadImage = "stop",
    adjustment: Adjustment | None = None,
    familiarity: Familiarity | None = None,
    engine: str = "",
) -> Iterator[Prediction | DataError]:
    """Yield a Prediction for each image.

    Args:
        network: The network.
        prepare: Its preprocessing.
        classes: Class names in the order of the logits.
        paths: Image files.
        top: Number of classes in a prediction.
        compute: Device and precision.
        on_bad_image: Whether an unreadable image raises its DataError (`stop`) or yields it (`skip`).
        adjustment: How images are changed before they are resized; None to leave them as they are.
        familiarity: The features of training images, to recognize images that are unlike them; None if unknown.
        engine: What computes, in words; torch with its precision by default.
    """
    place_network(network, compute).eval()
    engine = engine or f"torch, {compute.precision}"
    nothing: AbstractContextManager[list[Tensor]] = nullcontext([])
    with watch_features(network) if familiarity else nothing as features:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            decoded = ImageFiles(
                batch, prepare.channels, prepare.stored_size, prepare.stored_fit, adjustment
            ).decode_all()
            for error in decoded.errors.values():
                if on_bad_image == "stop":
                    raise DataError(f"{error}; --on-bad-image skip leaves such images out")
                yield error
            count = len(decoded.rows)
            if count == 0:
                continue
            ids = np.asarray(batch)[decoded.rows.numpy()]
            split = Split(decoded.pixels, torch.zeros(count, dtype=torch.int64), ids)
            with torch.inference_mode(), compute.autocast():
                images = next(batches(split, prepare, compute, count)).images
                features.clear()
                ranked = network(images).float().softmax(1).sort(dim=1, descending=True, stable=True)
            unlike = familiarity.is_unlike(features[0]) if familiarity and features else [False] * count
            ranks = ranked.values.tolist(), ranked.indices[:, :top].tolist()
            for path, pixels, size, is_unlike, values, labels in zip(
                ids.tolist(), decoded.pixels.numpy(), decoded.file_sizes, unlike, *ranks, strict=True
            ):
                remarks = remarks_on(pixels, size, values[0], prepare, classes, adjustment)
                if is_unlike:
                    remarks = (*remarks, UNLIKE)
                yield Prediction(path, tuple(classes[label] for label in labels), tuple(values[:top]), remarks, engine)
