"""Predictions of an exported file, made as other programs make them: whole images in, probabilities out."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lenext.data.adjustment import Adjustment
from lenext.data.dataset import Split
from lenext.data.images import to_pixels
from lenext.exporting.engines import Choice, Session
from lenext.exporting.onnx_file import Facts
from lenext.exporting.quantization import stored_batches
from lenext.exporting.verification import prepared_session
from lenext.foundation.errors import DataError
from lenext.foundation.settings import OnBadImage
from lenext.runs.predict import Prediction, Scores
from lenext.runs.remarks import remarks_on
from lenext.training.evaluation import Evaluation

SMALLEST = 1e-30  # a probability whose logarithm is still a number


def predict_exported(
    session: Session,
    facts: Facts,
    paths: Sequence[str],
    choice: Choice,
    top: int,
    on_bad_image: OnBadImage,
    adjustment: Adjustment | None,
) -> Iterator[Prediction | DataError]:
    """Yield a Prediction for each image, one at a time.

    Args:
        session: Runs the file.
        facts: What the file says about itself.
        paths: Image files.
        choice: The engine, which a prediction names.
        top: Number of classes in a prediction.
        on_bad_image: Whether an unreadable image raises its DataError (`stop`) or yields it (`skip`).
        adjustment: How images are changed at their full size.
    """
    classes, prepare = facts.description.classes, facts.description.preprocessing
    run = prepared_session(session, prepare) if facts.network_only else session
    for path in paths:
        try:
            pixels, stored = to_pixels(path, prepare.channels, prepare.stored_size, prepare.stored_fit, adjustment)
        except DataError as error:
            if on_bad_image == "stop":
                raise DataError(f"{error}; --on-bad-image skip leaves such images out") from error
            yield error
            continue
        ranked = torch.from_numpy(run(np.ascontiguousarray(pixels[None]))[0][0]).sort(descending=True, stable=True)
        labels, shares = ranked.indices[:top].tolist(), ranked.values[:top].tolist()
        size = (pixels.shape[1], pixels.shape[2])
        remarks = remarks_on(stored, size, shares[0], prepare, classes, adjustment)
        yield Prediction(path, tuple(classes[label] for label in labels), tuple(shares), remarks, str(choice))


class ExportedPredictor:
    """An exported file that is open for predictions: images as stored in, scores out, as `Predictor` gives them.

    Attributes:
        prepare: Its preprocessing.
        classes: Class names in the order of the logits.
        engine: What computes, and its precision.
    """

    def __init__(self, session: Session, facts: Facts, engine: str = "") -> None:
        """Keep a session.

        Args:
            session: Runs the file.
            facts: What the file says about itself.
            engine: What computes, in words.
        """
        self.session, self.network_only = session, facts.network_only
        self.prepare, self.classes = facts.description.preprocessing, facts.description.classes
        self.engine = engine

    def __call__(self, pixels: Tensor) -> Scores:
        """Return the scores of images (N, C, *stored_size), uint8."""
        values = self.prepare(pixels) if self.network_only else pixels
        probabilities, _ = self.session(np.ascontiguousarray(values.numpy()))
        return Scores(torch.from_numpy(probabilities), [False] * len(pixels))


def evaluate_exported(session: Session, facts: Facts, split: Split) -> Evaluation:
    """Measure an exported file on a split whose images are stored as its preprocessing has them."""
    predictor = ExportedPredictor(session, facts)
    probabilities = torch.cat([predictor(torch.from_numpy(batch)).probabilities for batch in stored_batches(split)])
    labels = split.labels.cpu()
    losses = -probabilities.gather(1, labels[:, None])[:, 0].clamp(min=SMALLEST).log()
    return Evaluation(probabilities, labels, losses)
