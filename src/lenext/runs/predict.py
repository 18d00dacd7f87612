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
from lenext.data.image_files import ImageFiles
from lenext.data.images import Size, is_image
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


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a batch of images.

    Attributes:
        probabilities: (N, K), float32, on the CPU.
        unlike: Whether each is unlike the training images; False where that is not known.
    """

    probabilities: Tensor
    unlike: Sequence[bool]


class Predictor:
    """A network that is open for predictions: images as stored in, scores out.

    Attributes:
        prepare: Its preprocessing.
        classes: Class names in the order of the logits.
        engine: What computes, and its precision.
        opened: The network with its weights in torch, where another engine computes it too.
    """

    def __init__(
        self,
        network: nn.Module,
        prepare: Preprocessing,
        classes: tuple[str, ...],
        compute: Compute,
        familiarity: Familiarity | None = None,
        engine: str = "",
        opened: nn.Module | None = None,
    ) -> None:
        """Place a network.

        Args:
            network: The network; it is moved to the device.
            prepare: Its preprocessing.
            classes: Class names in the order of the logits.
            compute: Device and precision.
            familiarity: The features of training images; None if unknown.
            engine: What computes, in words; torch with its precision by default.
            opened: The network in torch, where `network` is computed by another engine.
        """
        self.network = place_network(network, compute).eval()
        self.prepare, self.classes, self.compute, self.familiarity = prepare, classes, compute, familiarity
        self.engine, self.opened = engine or f"torch, {compute.precision}", opened or self.network

    def __call__(self, pixels: Tensor) -> Scores:
        """Return the scores of images (N, C, *stored_size), uint8."""
        count = len(pixels)
        nothing: AbstractContextManager[list[Tensor]] = nullcontext([])
        watched = watch_features(self.network) if self.familiarity else nothing
        with watched as features, torch.inference_mode(), self.compute.autocast():
            images = self.compute.move_images(self.prepare(self.compute.move_images(pixels)))
            probabilities = self.network(images).float().softmax(1).cpu()
        unlike = self.familiarity.is_unlike(features[0]) if self.familiarity and features else [False] * count
        return Scores(probabilities, unlike)


def make_predictions(
    names: Sequence[str],
    pixels: Tensor,
    file_sizes: Sequence[Size],
    scores: Scores,
    prepare: Preprocessing,
    classes: Sequence[str],
    top: int,
    adjustment: Adjustment | None,
    engine: str,
) -> Iterator[Prediction]:
    """Yield a Prediction for each image of a batch.

    Args:
        names: What the images are called.
        pixels: As stored, (N, C, *stored_size).
        file_sizes: (height, width) of each in its file.
        scores: Of the batch.
        prepare: The preprocessing.
        classes: Class names in the order of the scores.
        top: Number of classes in a prediction.
        adjustment: How the images were changed; None if they were not.
        engine: What has computed them.
    """
    probabilities = scores.probabilities.numpy()
    order = probabilities.argmax(1)[:, None] if top == 1 else (-probabilities).argsort(1, kind="stable")[:, :top]
    ranks = np.take_along_axis(probabilities, order, 1).tolist(), order.tolist()
    for name, image, size, is_unlike, values, labels in zip(
        names, pixels.numpy(), file_sizes, scores.unlike, *ranks, strict=True
    ):
        remarks = remarks_on(image, size, values[0], prepare, classes, adjustment)
        if is_unlike:
            remarks = (*remarks, UNLIKE)
        yield Prediction(name, tuple(classes[label] for label in labels), tuple(values), remarks, engine)


def predict_images(
    predictor: Predictor,
    paths: Sequence[str],
    *,
    top: int = 1,
    on_bad_image: OnBadImage = "stop",
    adjustment: Adjustment | None = None,
) -> Iterator[Prediction | DataError]:
    """Yield a Prediction for each image.

    Args:
        predictor: The network, open for predictions.
        paths: Image files.
        top: Number of classes in a prediction.
        on_bad_image: Whether an unreadable image raises its DataError (`stop`) or yields it (`skip`).
        adjustment: How images are changed before they are resized; None to leave them as they are.
    """
    prepare = predictor.prepare
    for start in range(0, len(paths), BATCH_SIZE):
        batch = paths[start : start + BATCH_SIZE]
        decoded = ImageFiles(batch, prepare.channels, prepare.stored_size, prepare.stored_fit, adjustment).decode_all()
        for error in decoded.errors.values():
            if on_bad_image == "stop":
                raise DataError(f"{error}; --on-bad-image skip leaves such images out")
            yield error
        if not len(decoded.rows):
            continue
        names = np.asarray(batch)[decoded.rows.numpy()].tolist()
        yield from make_predictions(
            names, decoded.pixels, decoded.file_sizes, predictor(decoded.pixels), prepare, predictor.classes, top,
            adjustment, predictor.engine,
        )  # fmt: skip
