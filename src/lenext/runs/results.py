"""What a measured split says, and the files of a run that hold it."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.runs.folder import Run
from lenext.training.evaluation import Evaluation

TOP5_FROM = 10  # classes; below, the five most probable say little


class Answered(Protocol):
    """Anything that has the true classes and the answers, (N,) each: measured just now, or read back from a run."""

    @property
    def labels(self) -> Any: ...
    @property
    def predicted(self) -> Any: ...


def confusion_counts(evaluation: Answered, classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts (K, K): rows the true class, columns the answer."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(evaluation.labels, evaluation.predicted, labels=range(len(classes)))
    return np.asarray(counts, dtype=np.int64)


def class_metrics(evaluation: Answered, classes: Sequence[str]) -> list[dict[str, Any]]:
    """For each class its images, precision, recall and F1; 0 where nothing was answered or nothing is there."""
    from sklearn.metrics import precision_recall_fscore_support

    figures = precision_recall_fscore_support(
        evaluation.labels, evaluation.predicted, labels=range(len(classes)), zero_division=0
    )
    rows = zip(classes, *(figure.tolist() for figure in figures), strict=True)
    return [{"class": c, "images": int(n), "precision": p, "recall": r, "f1": f} for c, p, r, f, n in rows]


def confident_mistakes(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probability: NDArray[np.floating[Any]],
    loss: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    """Return the rows of the wrong answers, the most confident first; of equal ones the costliest first.

    A probability that is no number counts as 0, a loss that is none as infinite.
    """
    wrong = np.flatnonzero(labels != predicted)
    confidence = np.nan_to_num(probability[wrong].astype(np.float64), nan=0.0)
    cost = np.nan_to_num(loss[wrong].astype(np.float64), nan=np.inf, posinf=np.inf)
    return wrong[np.lexsort((-cost, -confidence))]


def split_metrics(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Loss, accuracy, top-5 where it means something."""
    figures = {"samples": len(evaluation.labels), "loss": evaluation.loss, "accuracy": evaluation.accuracy}
    return figures | ({"top5_accuracy": evaluation.top(5)} if len(classes) >= TOP5_FROM else {})


def write_predictions(run: Run, evaluation: Evaluation, split: Split, classes: Sequence[str]) -> None:
    """predictions.csv: a line an image, with the probability of the answer and the loss."""
    answers = evaluation.predicted
    probabilities = evaluation.probabilities.gather(1, answers[:, None])[:, 0]
    columns = (split.ids.tolist(), evaluation.labels.tolist(), answers.tolist())
    rows = zip(*columns, probabilities.tolist(), evaluation.losses.tolist(), strict=True)
    run.write_csv(
        "predictions.csv",
        ("sample", "true", "predicted", "probability", "loss"),
        ((sample, classes[t], classes[p], f"{q:.6f}", f"{loss:.6f}") for sample, t, p, q, loss in rows),
    )
