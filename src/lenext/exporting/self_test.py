"""The self-test beside an exported file: a few images with the pixels and probabilities they must give, anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.data.images import to_image
from lenext.data.resizing import resize
from lenext.exporting.engines import Session
from lenext.exporting.onnx_file import Facts
from lenext.exporting.verification import (
    TOLERANCE,
    VerificationError,
    prepared_session,
    samples,
    to_array,
)
from lenext.foundation.errors import RunError
from lenext.runs.signed import read_signed, write_signed

KEY = "lenext-selftest"
IMAGES, MAX_SIDE_FACTOR = 8, 2

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Images with what they must give.

    Attributes:
        pixels: Decoded images, each (C, H, W), uint8.
        stored: The same, resized, (N, C, *stored_size), uint8.
        probabilities: (N, K).
    """

    pixels: Sequence[Array]
    stored: Array
    probabilities: Array

    @classmethod
    def make(cls, session: Session, facts: Facts, split: Split) -> "SelfTest":
        """Take the first images of a split, and what an exported model gives for them."""
        prepare = facts.description.preprocessing
        height, width = prepare.stored_size
        run = prepared_session(session, prepare) if facts.network_only else session
        images, resized, probabilities = [], [], []
        for _, pixels, _ in samples(split, min(IMAGES, len(split)), prepare):
            image = to_image(pixels)
            if max(pixels.shape[1:]) > MAX_SIDE_FACTOR * max(height, width):  # no photograph is given away at full size
                scale = MAX_SIDE_FACTOR * max(height, width) / max(pixels.shape[1:])
                image = resize(image, max(1, round(scale * image.height)), max(1, round(scale * image.width)), "crop")
            images.append(to_array(image))
            resized.append(to_array(resize(image, height, width, prepare.stored_fit)))
            probabilities.append(run(images[-1][None])[0][0])
        return cls(images, np.stack(resized), np.stack(probabilities))

    def save(self, path: Path, facts: Facts) -> None:
        """Write it, signed, with the SHA-256 of the weights that it belongs to."""
        tensors = {f"pixels_{place}": torch.from_numpy(np.array(each)) for place, each in enumerate(self.pixels)}
        tensors |= {"stored": torch.from_numpy(self.stored), "probabilities": torch.from_numpy(self.probabilities)}
        write_signed(path, KEY, facts.weights_sha256, tensors)

    @classmethod
    def load(cls, path: Path, facts: Facts) -> "SelfTest":
        """Read it. Raises RunError where it is missing, was changed, or belongs to another file."""
        weights, tensors = read_signed(path, KEY, "the self-test of an exported file; it is next to it")
        if weights != facts.weights_sha256:
            raise RunError(f"{path}: the self-test of other weights; copy the one next to the file")
        names = [f"pixels_{place}" for place in range(len(tensors) - 2)]
        prepare, classes = facts.description.preprocessing, len(facts.description.classes)
        shapes = {
            "stored": (len(names), prepare.channels, *prepare.stored_size), "probabilities": (len(names), classes)
        }  # fmt: skip
        kinds = dict.fromkeys((*names, "stored"), torch.uint8) | {"probabilities": torch.float32}
        fits = tensors.keys() == kinds.keys() and all(tensors[name].dtype == kind for name, kind in kinds.items())
        fits = fits and all(tensors[name].shape == shape for name, shape in shapes.items())
        if not names or not fits or any(tensors[name].shape[:1] != (prepare.channels,) for name in names):
            raise RunError(f"{path}: an incomplete self-test; export the run again")
        return cls(
            [tensors[name].numpy() for name in names], tensors["stored"].numpy(), tensors["probabilities"].numpy()
        )

    def check(self, session: Session, facts: Facts, tolerance: float = TOLERANCE) -> float:
        """Run it, and return the largest difference of a probability.

        Args:
            session: Runs the exported model.
            facts: What the file says about itself.
            tolerance: Of a probability.

        Raises:
            VerificationError: A probability or a pixel differs.
        """
        prepare = facts.description.preprocessing
        height, width = prepare.stored_size
        largest = 0.0
        for pixels, stored, expected in zip(self.pixels, self.stored, self.probabilities, strict=True):
            if not np.array_equal(to_array(resize(to_image(pixels), height, width, prepare.stored_fit)), stored):
                raise VerificationError("this machine resizes images otherwise than the one that exported the file")
            inputs = prepare(torch.from_numpy(stored[None])).numpy() if facts.network_only else pixels[None]
            difference = np.abs(session(np.ascontiguousarray(inputs))[0][0] - expected).max()
            largest = float(np.maximum(largest, difference))  # nan stays
        if not largest <= tolerance:
            raise VerificationError(f"a probability differs by {largest:.1e}, more than {tolerance:.0e}")
        return largest
