"""A model that is served: opened from a copy of its files, and verified before it answers."""

import copy
import threading
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lenext.data.images import DecodedImage, OpenedImage, to_image
from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import resize
from lenext.exporting.formats import TOLERANCES, open_exported
from lenext.exporting.onnx_file import weights_digest
from lenext.exporting.predicting import ExportedPredictor
from lenext.exporting.self_test import SelfTest
from lenext.exporting.verification import VerificationError, to_array
from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.inspection.explain import grad_cam
from lenext.runs.layout import SELF_TEST_SUFFIX, is_exported
from lenext.runs.predict import Scores
from lenext.serving.options import PredictOptions
from lenext.serving.settings import ServiceSettings, Source
from lenext.workflows.open_weights import refuse_for_exported
from lenext.workflows.predict import open_predictor

MAX_BATCH, BATCH_PIXELS = 64, 1 << 19  # of the network's input: 64 images of 32 px, 10 of 224 px
TOLERANCE = 1e-5  # of a probability, between batches
VERSION_CHARACTERS = 12


class OpenPredictor(Protocol):
    """A model that gives scores; see `Predictor`."""

    prepare: Preprocessing
    engine: str

    @property
    def classes(self) -> "tuple[str, ...]":
        """Class names in the order of the scores."""

    def __call__(self, pixels: Tensor) -> Scores:
        """Return the scores of images (N, C, *stored_size), uint8."""


class ServedModel:
    """A model that is open and verified.

    Attributes:
        name: In addresses.
        version: The first characters of the SHA-256 of its weights.
        predictor: What computes it.
        max_batch: Images that are computed together at most.
    """

    def __init__(self, source: Source, settings: ServiceSettings) -> None:
        """Open and verify a model.

        Args:
            source: Its files, which nobody else changes.
            settings: The engine and the device.

        Raises:
            LenextError: The model cannot be opened, or is not what it claims to be.
        """
        self.name = source.name
        self.explained: nn.Module | None = None
        self.explaining = threading.Lock()
        path = Path(source.path)
        if is_exported(path) and not source.pretrained:
            refuse_for_exported(path, {"weights": source.weights, "network": source.network, "device": settings.device})
            session, facts, choice = open_exported(path, settings.engine)
            test = path.with_name(path.name + SELF_TEST_SUFFIX)
            if test.is_file():
                SelfTest.load(test, facts).check(session, facts, TOLERANCES[choice.engine])
            self.predictor: OpenPredictor = ExportedPredictor(session, facts, str(choice))
            digest = facts.weights_sha256
        else:
            predictor = open_predictor(
                source.path, source.weights, source.network, pretrained=source.pretrained, engine=settings.engine,
                device=settings.device, precision="fp32", data_dir=source.data_dir, offline=source.offline,
            )  # fmt: skip
            digest = weights_digest(predictor.opened)
            self.explained = copy.deepcopy(predictor.opened).cpu().float().eval().requires_grad_(False)
            self.predictor = predictor
        self.version = digest[:VERSION_CHARACTERS]
        self.classes, self.prepare = self.predictor.classes, self.predictor.prepare
        height, width = self.prepare.image_size
        self.max_batch = min(MAX_BATCH, max(1, BATCH_PIXELS // (height * width)))
        self.verify()

    def verify(self) -> None:
        """Compare what a batch gives with what its images give one by one; this also allocates what both need.

        Raises:
            VerificationError: Probabilities are none, or depend on the batch.
        """
        shape = (self.max_batch, self.prepare.channels, *self.prepare.stored_size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        together = self.predictor(pixels).probabilities
        if together.shape != (len(pixels), len(self.classes)):
            raise VerificationError("it gives no probability for each of its classes")
        if not (together.isfinite().all() and torch.allclose(together.sum(1), torch.ones(len(pixels)), atol=1e-3)):
            raise VerificationError("its probabilities are not finite, or do not add up to 1")
        alone = torch.cat([self.predictor(each[None]).probabilities for each in pixels[: min(4, len(pixels))]])
        difference = float((together[: len(alone)] - alone).abs().max())
        if not difference <= TOLERANCE:
            raise VerificationError(f"in a batch its probabilities differ by {difference:.1e}")

    def open_image(self, name: str, content: bytes, options: PredictOptions) -> OpenedImage:
        """Open an image without decoding it. Raises DataError."""
        return OpenedImage(name, self.prepare.stored_size, options.adjustment(self.prepare), content)

    def decode(self, opened: OpenedImage, options: PredictOptions) -> DecodedImage:
        """Decode an image as `predict` does. Raises DataError."""
        return opened.decode(self.prepare.channels, options.preprocessing(self.prepare).stored_fit)

    def resize_pixels(self, pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> DecodedImage:
        """Return decoded pixels (C, H, W) as stored for the network."""
        height, width = self.prepare.stored_size
        stored = to_array(resize(to_image(pixels), height, width, self.prepare.stored_fit))
        return DecodedImage(stored, 1, (pixels.shape[1], pixels.shape[2]))

    def explain(self, stored: Tensor, label: int) -> Tensor:
        """Return Grad-CAM of a stored image (C, *stored_size) for a class, (height, width) from 0 to 1.

        Raises:
            ConfigurationError: The model has no gradients, as an exported file.
        """
        network = self.check_explained()
        with self.explaining:  # it hooks the network
            return grad_cam(network, self.prepare(stored[None]), torch.tensor([label]))[0]

    def check_explained(self) -> nn.Module:
        """Return the network that explanations come from. Raises ConfigurationError where there is none."""
        if self.explained is None:
            raise ConfigurationError(
                f"explain=gradcam: model {self.name} is an exported file, which has no gradients; serve its run instead"
            )
        return self.explained


def open_model(source: Source, settings: ServiceSettings) -> ServedModel:
    """Open and verify a model. Raises LenextError, whose message names it, and its file as the user does."""
    try:
        return ServedModel(source, settings)
    except LenextError as error:
        text = str(error).replace(source.path, source.asked or source.path)
        named = type(error)(f"model {source.name}: {text}")
        raise named from error
