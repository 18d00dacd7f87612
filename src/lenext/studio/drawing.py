"""Predictions for what is drawn or dropped: the networks of a few runs stay open."""

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from lenext.data.images import OpenedImage
from lenext.runs.folder import Run, modified_ns
from lenext.runs.predict import Predictor
from lenext.workflows.predict import make_adjustment, open_predictor

MAX_OPEN = 3  # networks in memory
TOP = 10  # classes answered


class OpenNetworks:
    """Networks of runs that are open, the most recently used last."""

    def __init__(self) -> None:
        self.opened: OrderedDict[tuple[str, int], Predictor] = OrderedDict()
        self.lock = threading.Lock()

    def open(self, run: Run) -> Predictor:
        """Return a run's best network. Raises LenextError where it cannot be opened."""
        key = (str(run.path), modified_ns(run.weights()))
        if key not in self.opened:
            self.opened[key] = open_predictor(run, device="cpu", precision="fp32")
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
        with self.lock:
            predictor = self.open(run)
            prepare = predictor.prepare
            adjustment = make_adjustment(prepare, "no", is_drawn and prepare.channels == 1, "auto")
            decoded = OpenedImage("the image", prepare.stored_size, adjustment, image).decode(
                prepare.channels, prepare.stored_fit
            )
            (probabilities,) = predictor(torch.from_numpy(np.ascontiguousarray(decoded.pixels[None]))).probabilities
        ranked = probabilities.sort(descending=True, stable=True)
        classes = [predictor.classes[label] for label in ranked.indices[:TOP].tolist()]
        return {"classes": classes, "probabilities": ranked.values[:TOP].tolist()}
