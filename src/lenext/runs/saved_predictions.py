"""What a run answered for its test images, read back from predictions.csv, and the figures drawn from that."""

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

MOST_BYTES = 1 << 30  # of predictions.csv
BINS = 10  # of confidence
DRAWS, CONFIDENCE = 200, 0.95  # of what a calibrated network would answer


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """samples: ids as text. labels, predicted: places in `classes`. probability: of the answer. All are (N,)."""

    classes: tuple[str, ...]
    samples: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.labels == self.predicted

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    def confusion(self) -> NDArray[np.int64]:
        """Counts (K, K): rows the true class, columns the answer."""
        return confusion_counts(self, self.classes)

    def confused(self, most: int = 10) -> list[tuple[str, str, int, float]]:
        """The pairs (true, answer) that were mixed up most often: how often, and in what share of the true class."""
        counts = self.confusion()
        of_class = counts.sum(1)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(self.classes)) for place in order]
        return [
            (self.classes[a], self.classes[b], int(counts[a, b]), float(counts[a, b] / of_class[a]))
            for a, b in pairs
            if counts[a, b]
        ]

    def worst(self, most: int) -> NDArray[np.int64]:
        """Return the rows of the most confident wrong answers, the most confident first."""
        return confident_mistakes(self.labels, self.predicted, self.probability, self.loss)[:most]

    def doubtful(self, most: int) -> NDArray[np.int64]:
        """Return the rows of the least confident answers, right or wrong, the least confident first."""
        return np.argsort(np.nan_to_num(self.probability, nan=0.0), kind="stable")[:most]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Where the probability is a number."""
        return np.isfinite(self.probability)

    @cached_property
    def bins(self) -> NDArray[np.int64]:
        """The tenth of probability in which each known answer is, (M,)."""
        return np.clip((self.probability[self.known] * BINS).astype(np.int64), 0, BINS - 1)

    def reliability(self) -> list[tuple[float, float, int]]:
        """For each tenth of probability that has answers: their mean probability, their accuracy, how many."""
        counts, confidence, right = (
            self.binned(),
            self.binned(self.probability[self.known]),
            self.binned(self.right[self.known]),
        )
        return [
            (float(confidence[at] / counts[at]), float(right[at] / counts[at]), int(counts[at]))
            for at in np.flatnonzero(counts)
        ]

    def binned(self, values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return the sum of values (M,) in each bin, or how many there are."""
        return np.bincount(self.bins, values, BINS).astype(np.float64)

    @property
    def calibration_error(self) -> float:
        """The mean distance between probability and accuracy over these bins, by their images (Guo et al.,
        arXiv:1706.04599)."""
        return self.calibration_errors(self.right[self.known][None])[0]

    @cached_property
    def calibration_error_by_chance(self) -> float:
        """The error that a calibrated network with these probabilities stays below with 95 % probability.

        On few samples it is far above 0. Each answer is drawn as right with its own probability, by a fixed seed.
        """
        draw = np.random.default_rng(0)
        probability = self.probability[self.known]
        drawn = (draw.random(len(probability)) < probability for _ in range(DRAWS))
        return float(np.quantile(self.calibration_errors(drawn), CONFIDENCE))

    def calibration_errors(self, drawn: Iterable[NDArray[np.bool_]]) -> list[float]:
        """Return the error for each way in which the known answers may be right (M,)."""
        confidence, total = self.binned(self.probability[self.known]), max(len(self.bins), 1)
        return [float(np.abs(confidence - self.binned(right)).sum() / total) for right in drawn]

    @property
    def confidence(self) -> tuple[float, float]:
        """The mean probability of the known answers, and the share of them that is right."""
        if not self.known.any():
            return 0.0, 0.0
        return float(self.probability[self.known].mean()), float(self.right[self.known].mean())


def read_predictions(path: Path, classes: Sequence[str]) -> SavedPredictions | None:
    """What predictions.csv holds; None where there is none. Raises RunError for a broken one."""
    if not path.is_file():
        return None
    place = {name: at for at, name in enumerate(classes)}
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path, MOST_BYTES).decode(), newline="")))
        return SavedPredictions(
            tuple(classes),
            np.array([row["sample"] for row in rows], dtype=np.str_),
            np.array([place[row["true"]] for row in rows], dtype=np.int64),
            np.array([place[row["predicted"]] for row in rows], dtype=np.int64),
            np.array([float(row["probability"]) for row in rows]),
            np.array([float(row["loss"]) for row in rows]),
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error!r})") from error
