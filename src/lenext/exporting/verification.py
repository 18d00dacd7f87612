"""Verification of an exported file: its probabilities beside those of `predict`, before it is written."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from lenext.data.dataset import Split
from lenext.data.image_files import ImageFiles
from lenext.data.images import to_image, to_pixels
from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import resize
from lenext.exporting.engines import Session
from lenext.foundation.errors import LenextError
from lenext.foundation.progress import count_bar

TOLERANCE = 1e-5  # of a probability
MAX_IMAGES = 1_000
BATCHES = (1, 2, 7, 64)
ODD_SIZES = ((47, 61), (200, 33), (1, 5), (96, 96), (301, 299))  # height, width
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")

Array = NDArray[Any]


class VerificationError(LenextError):
    """An exported file whose predictions are not those of the network; nothing is written."""

    exit_code = 3


@dataclass(frozen=True)
class Verification:
    """The result of a comparison.

    Attributes:
        images: Number of validation images.
        odd_images: Number of images of odd sizes and modes.
        largest_difference: Of a probability, over all of them.
        largest_between_batches: Of a probability, between batches of 1, 2, 7 and 64.
        changed: Images whose most probable class is another, as (id, class before, class after).
        tolerance: Of a probability.
    """

    images: int
    odd_images: int
    largest_difference: float
    largest_between_batches: float
    changed: tuple[tuple[str, str, str], ...]
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the file may be written."""
        differences = (self.largest_difference, self.largest_between_batches)
        return all(value <= self.tolerance for value in differences) and not self.changed

    def to_metadata(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {"changed": len(self.changed)}

    def describe(self) -> str:
        """Return it in a line."""
        changed = "no answer changed" if not self.changed else f"{len(self.changed)} answers changed"
        return (
            f"{self.images:,} images and {self.odd_images} of odd sizes and modes: largest difference of a probability "
            f"{self.largest_difference:.1e}, between batches of {', '.join(map(str, BATCHES))} "
            f"{self.largest_between_batches:.1e}; {changed}"
        )


def verify(
    session: Session,
    network: nn.Module,
    prepare: Preprocessing,
    classes: Sequence[str],
    split: Split,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Compare an exported model from pixels with the network it was made from.

    Args:
        session: Runs the model.
        network: In evaluation mode, fp32, on the CPU.
        prepare: Its preprocessing, as `predict` has it.
        classes: Names of the classes.
        split: Images to compare on; the first MAX_IMAGES.
        tolerance: Of a probability.
    """
    differences, changed = [0.0], []
    count = min(len(split), MAX_IMAGES)
    odd = list(odd_images(split, prepare))
    with count_bar("verifying", count + len(odd)) as advance:
        for name, pixels, stored in chain(samples(split, count, prepare), odd):
            expected, actual = reference(network, prepare, stored[None]), session(pixels[None])[0]
            differences.append(float(np.abs(expected - actual).max()))
            if (before := int(expected.argmax())) != (after := int(actual.argmax())):
                changed.append((name, classes[before], classes[after]))
            advance(1)
    between = compare_batches(session, split, prepare)
    return Verification(count, len(odd), float(np.max(differences)), between, tuple(changed), tolerance)  # nan stays


def prepared_session(session: Session, prepare: Preprocessing) -> Session:
    """Return a session from pixels (N, C, H, W), given one from prepared images."""
    height, width = prepare.stored_size

    def run(pixels: Array) -> tuple[Array, Array]:
        images = np.stack([to_array(resize(to_image(each), height, width, prepare.stored_fit)) for each in pixels])
        return session(np.ascontiguousarray(prepare(torch.from_numpy(images)).numpy()))

    return run


def reference(network: nn.Module, prepare: Preprocessing, stored: Array) -> Array:
    """Return the probabilities (N, K) of stored pixels (N, C, *stored_size), in fp32."""
    with torch.inference_mode():
        probabilities: Array = network(prepare(torch.from_numpy(np.array(stored)))).softmax(1).numpy()
    return probabilities


def samples(split: Split, count: int, prepare: Preprocessing) -> Iterator[tuple[str, Array, Array]]:
    """Yield the name, the decoded pixels and the stored pixels, both (C, H, W), of the first images of a split."""
    images = split.images
    for row in range(count):
        name = str(split.ids[row])
        if isinstance(images, ImageFiles):
            pixels, stored = to_pixels(images.paths[row], prepare.channels, prepare.stored_size, prepare.stored_fit)
        else:
            pixels = stored = images[torch.tensor([row])][0].numpy()
        yield name, pixels, stored


def compare_batches(session: Session, split: Split, prepare: Preprocessing) -> float:
    """Return the largest difference of a probability between batches of several sizes."""
    rows = [stored for _, _, stored in samples(split, min(len(split), max(BATCHES)), prepare)]
    images = np.stack([rows[place % len(rows)] for place in range(max(BATCHES))])
    first, *larger = (
        np.concatenate([session(images[start : start + size])[0] for start in range(0, len(images), size)])
        for size in BATCHES
    )
    return float(np.max([np.abs(first - batches).max() for batches in larger]))


def odd_images(split: Split, prepare: Preprocessing) -> Iterator[tuple[str, Array, Array]]:
    """Yield images of odd sizes and of every mode, made from those of a split."""
    sources = [stored for _, _, stored in samples(split, min(len(split), len(ODD_SIZES)), prepare)]
    for place, (height, width) in enumerate(ODD_SIZES):
        source = to_image(sources[place % len(sources)])
        for mode in MODES:
            image = resize(source, height, width, "crop")
            name = f"{mode} {height} x {width}"
            pixels, stored = to_pixels(as_file(image, mode), prepare.channels, prepare.stored_size, prepare.stored_fit)
            yield name, pixels, stored


def to_array(image: Image.Image) -> Array:
    """Return the pixels of an image, (C, H, W)."""
    pixels = np.array(image)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def as_file(image: Image.Image, mode: str) -> io.BytesIO:
    """Return an image in a mode, as a file: PNG, or JPEG for CMYK."""
    if mode == "I;16":
        converted = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        converted = image.convert(mode)
    file = io.BytesIO()
    converted.save(file, "JPEG" if mode == "CMYK" else "PNG")
    file.seek(0)
    return file
