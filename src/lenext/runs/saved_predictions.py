"""A run's predictions for its test images, read from predictions.csv, and the metrics computed from them."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenext.foundation.errors import RunError
from lenext.foundation.files import read_regular
from lenext.runs.results import confident_mistakes, confusion_counts

MAX_FILE_BYTES = 1 << 30  # of predictions.csv
BINS = 10  # of probability
SIMULATIONS, CONFIDENCE_LEVEL = 200, 0.95  # of a calibrated network


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """The predictions of a finished run. `Evaluation` holds those of a network at hand, with all probabilities.

    All arrays are (N,).

    Attributes:
        classes: Class names.
        samples: Sample ids as text.
        labels: True classes, as positions in `classes`.
        predicted: Predicted classes, as positions in `classes`.
        probability: Probability of the predicted class; NaN if the network returned none.
        loss: Cross-entropy.
    """

    classes: tuple[str, ...]
    samples: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        return self.labels == self.predicted

    @property
    def accuracy(self) -> float:
        return float(self.is_correct.mean())

    def confusion(self) -> NDArray[np.int64]:
        """Return the confusion matrix (K, K) of counts: a row is a true class, a column a predicted class."""
        return confusion_counts(self, self.classes)

    def most_confused(self, count: int = 10) -> list[tuple[str, str, int, float]]:
        """Return the most frequent mistakes: true class, predicted class, count, fraction of the true class."""
        counts = self.confusion()
        class_sizes = counts.sum(1)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:count]
        pairs = [divmod(int(cell), len(self.classes)) for cell in order]
        return [
            (self.classes[true], self.classes[predicted], int(counts[true, predicted]),
             float(counts[true, predicted] / class_sizes[true]))
            for true, predicted in pairs
            if counts[true, predicted]
        ]  # fmt: skip

    def places_in(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the place of each prediction's sample among the ids of a split; -1 where it is not there."""
        place_by_id = {str(sample): place for place, sample in enumerate(ids.tolist())}
        return np.array([place_by_id.get(sample, -1) for sample in self.samples.tolist()], dtype=np.int64)

    def confident_mistakes(self, count: int) -> NDArray[np.int64]:
        """Return the rows of the most confident wrong predictions, the most confident first."""
        return confident_mistakes(self.labels, self.predicted, self.probability, self.loss)[:count]

    def least_confident(self, count: int) -> NDArray[np.int64]:
        """Return the rows of the least confident predictions, right or wrong, the least confident first."""
        return np.argsort(np.nan_to_num(self.probability, nan=0.0), kind="stable")[:count]

    @cached_property
    def has_probability(self) -> NDArray[np.bool_]:
        """Whether each probability is finite, (N,)."""
        return np.isfinite(self.probability)

    @cached_property
    def bins(self) -> NDArray[np.int64]:
        """The bin of each finite probability, (M,)."""
        return np.clip((self.probability[self.has_probability] * BINS).astype(np.int64), 0, BINS - 1)

    def reliability_bins(self) -> list[tuple[float, float, int]]:
        """Return the mean probability, the accuracy and the number of predictions of each bin that is not empty."""
        counts = self.sum_by_bin()
        probability = self.sum_by_bin(self.probability[self.has_probability])
        correct = self.sum_by_bin(self.is_correct[self.has_probability])
        return [
            (float(probability[bin_] / counts[bin_]), float(correct[bin_] / counts[bin_]), int(counts[bin_]))
            for bin_ in np.flatnonzero(counts)
        ]

    def sum_by_bin(self, values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return the sum of values (M,) in each bin; without values, the number of predictions."""
        return np.bincount(self.bins, values, BINS).astype(np.float64)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of probability and accuracy over bins (arXiv:1706.04599)."""
        return self.calibration_errors(self.is_correct[self.has_probability][None])[0]

    @cached_property
    def calibration_error_by_chance(self) -> float:
        """The error below which a calibrated network with these probabilities stays in 95 % of cases.

        On few samples it is far above 0. It is simulated: each prediction is right with its own probability, with a
        fixed seed.
        """
        draw = np.random.default_rng(0)
        probability = self.probability[self.has_probability]
        outcomes = (draw.random(len(probability)) < probability for _ in range(SIMULATIONS))
        return float(np.quantile(self.calibration_errors(outcomes), CONFIDENCE_LEVEL))

    def calibration_errors(self, outcomes: Iterable[NDArray[np.bool_]]) -> list[float]:
        """Return the calibration error for each outcome: whether the predictions with a probability are right (M,)."""
        probability, total = self.sum_by_bin(self.probability[self.has_probability]), max(len(self.bins), 1)
        return [float(np.abs(probability - self.sum_by_bin(correct)).sum() / total) for correct in outcomes]

    @property
    def confidence_and_accuracy(self) -> tuple[float, float]:
        """Mean probability and accuracy of the predictions with a finite probability."""
        rows = self.has_probability
        if not rows.any():
            return 0.0, 0.0
        return float(self.probability[rows].mean()), float(self.is_correct[rows].mean())


def read_predictions(path: Path, classes: Sequence[str]) -> SavedPredictions | None:
    """Read predictions.csv; None if it does not exist. Raises RunError if it is broken."""
    if not path.is_file():
        return None
    label_of = {name: label for label, name in enumerate(classes)}
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path, MAX_FILE_BYTES).decode(), newline="")))
        return SavedPredictions(
            tuple(classes),
            np.array([row["sample"] for row in rows], dtype=np.str_),
            np.array([label_of[row["true"]] for row in rows], dtype=np.int64),
            np.array([label_of[row["predicted"]] for row in rows], dtype=np.int64),
            np.array([float(row["probability"]) for row in rows]),
            np.array([float(row["loss"]) for row in rows]),
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error!r})") from error
