"""What a run answered for its test pictures, read back from predictions.csv, and the figures drawn from that."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenext.foundation.errors import RunError
from lenext.foundation.files import read_regular
from lenext.runs.results import confusion

MOST_BYTES = 1 << 30  # of predictions.csv
BINS = 10  # of confidence


@dataclass(frozen=True, eq=False)
class Answers:
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
        return confusion(self, self.classes)

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
        """Rows of the wrong answers that cost most, the costliest first; a loss that is no number costs most."""
        wrong = np.flatnonzero(~self.right)
        cost = np.nan_to_num(self.loss[wrong], nan=np.inf)
        return wrong[np.argsort(-cost, kind="stable")][:most]

    def doubtful(self, most: int) -> NDArray[np.int64]:
        """Rows of the answers with the least probability."""
        return np.argsort(np.nan_to_num(self.probability, nan=0.0), kind="stable")[:most]

    def reliability(self) -> list[tuple[float, float, int]]:
        """For each tenth of probability that has answers: their mean probability, their accuracy, how many."""
        known = np.isfinite(self.probability)
        place = np.minimum((np.where(known, self.probability, 0) * BINS).astype(int), BINS - 1)
        rows = []
        for at in range(BINS):
            inside = known & (place == at)
            if inside.any():
                rows.append(
                    (float(self.probability[inside].mean()), float(self.right[inside].mean()), int(inside.sum()))
                )
        return rows

    @property
    def calibration_error(self) -> float:
        """The mean distance between probability and accuracy over these bins, by their pictures (Guo et al.,
        arXiv:1706.04599)."""
        rows = self.reliability()
        total = sum(count for _, _, count in rows)
        return sum(count * abs(mean - accuracy) for mean, accuracy, count in rows) / total if total else 0.0


def read_answers(path: Path, classes: Sequence[str]) -> Answers | None:
    """What predictions.csv holds; None where there is none. Raises RunError for a broken one."""
    if not path.is_file():
        return None
    place = {name: at for at, name in enumerate(classes)}
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path, MOST_BYTES).decode(), newline="")))
        return Answers(
            tuple(classes),
            np.array([row["sample"] for row in rows], dtype=np.str_),
            np.array([place[row["true"]] for row in rows], dtype=np.int64),
            np.array([place[row["predicted"]] for row in rows], dtype=np.int64),
            np.array([float(row["probability"]) for row in rows]),
            np.array([float(row["loss"]) for row in rows]),
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error!r})") from error
