"""Predictions for what is drawn or dropped: the networks of a few runs stay open."""

import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import DataError
from lenext.runs.folder import Run, modified_ns
from lenext.runs.predict import predict_images
from lenext.runs.weights import Description
from lenext.workflows.open_weights import open_weights
from lenext.workflows.predict import make_adjustment

MAX_OPEN = 3  # networks in memory
TOP = 10  # classes answered


class OpenNetworks:
    """Networks of runs that are open, the most recently used last."""

    def __init__(self) -> None:
        self.opened: OrderedDict[tuple[str, int], tuple[nn.Module, Description]] = OrderedDict()
        self.lock = threading.Lock()

    def open(self, run: Run) -> tuple[nn.Module, Description]:
        """Return a run's best network. Raises LenextError where it cannot be opened."""
        key = (str(run.path), modified_ns(run.weights()))
        if key not in self.opened:
            self.opened[key] = open_weights(run)
            while len(self.opened) > MAX_OPEN:
                self.opened.popitem(last=False)
        self.opened.move_to_end(key)
        return self.opened[key]

    def predict(self, run: Run, image: bytes, is_drawn: bool) -> dict[str, Any]:
        """Return the most probable classes of an image.

        Args:
            run: A run.
            image: The content of an image file.
            is_drawn: Whether it was drawn; a network of grey images gets it centred and scaled as MNIST's digits are.

        Raises:
            DataError: It is no image.
            LenextError: The run's network cannot be opened.
        """
        with self.lock, tempfile.TemporaryDirectory(prefix="lenext-studio-") as folder:
            network, description = self.open(run)
            path = Path(folder, "image.png")
            path.write_bytes(image)
            prepare = description.preprocessing
            adjustment = make_adjustment(prepare, "no", is_drawn and prepare.channels == 1, "auto")
            answer = next(
                predict_images(
                    network, prepare, description.classes, [str(path)],
                    top=TOP, compute=Compute.choose("cpu", "fp32"), on_bad_image="skip", adjustment=adjustment,
                )
            )  # fmt: skip
        if isinstance(answer, DataError):
            raise DataError(str(answer).replace(str(path), "the image"))
        return {"classes": list(answer.classes), "probabilities": list(answer.probabilities)}
