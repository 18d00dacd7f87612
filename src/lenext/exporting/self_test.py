"""The self-test beside an exported file: a few images with the pixels and probabilities they must give, anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.data.resizing import resize
from lenext.exporting.engines import Session
from lenext.exporting.onnx_file import Facts
from lenext.exporting.verification import TOLERANCE, VerificationError, prepared_session, samples, to_image
from lenext.foundation.errors import RunError
from lenext.runs.signed import read_signed, write_signed

SUFFIX = ".selftest.safetensors"
KEY = "lenext-selftest"
IMAGES = 8

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
        some = list(samples(split, min(IMAGES, len(split)), prepare))
        stored = np.stack([stored for _, _, stored in some])
        run = prepared_session(session, prepare) if facts.network_only else session
        given = [run(np.ascontiguousarray(pixels[None]))[0][0] for _, pixels, _ in some]
        return cls([pixels for _, pixels, _ in some], stored, np.stack(given))

    def save(self, path: Path) -> None:
        """Write it, signed."""
        tensors = {f"pixels_{place}": torch.from_numpy(np.array(each)) for place, each in enumerate(self.pixels)}
        tensors |= {"stored": torch.from_numpy(self.stored), "probabilities": torch.from_numpy(self.probabilities)}
        write_signed(path, KEY, "{}", tensors)

    @classmethod
    def load(cls, path: Path) -> "SelfTest":
        """Read it. Raises RunError where it is missing or was changed."""
        _, tensors = read_signed(path, KEY, "the self-test of an exported file; it lies beside it")
        names = sorted((name for name in tensors if name.startswith("pixels_")), key=lambda name: int(name[7:]))
        if not names or not {"stored", "probabilities"} <= tensors.keys():
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
            resized = np.array(resize(to_image(pixels), height, width, prepare.stored_fit))
            if not np.array_equal(resized.reshape(height, width, -1).transpose(2, 0, 1), stored):
                raise VerificationError("this machine resizes images otherwise than the one that exported the file")
            given = prepare(torch.from_numpy(stored[None])).numpy() if facts.network_only else pixels[None]
            largest = max(largest, float(np.abs(session(np.ascontiguousarray(given))[0][0] - expected).max()))
        if not largest <= tolerance:
            raise VerificationError(f"a probability differs by {largest:.1e}, more than {tolerance:.0e}")
        return largest
