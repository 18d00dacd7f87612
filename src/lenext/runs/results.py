"""Metrics of a measured split, and the file of its predictions."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.runs.folder import Run
from lenext.training.evaluation import Evaluation

MIN_TOP5_CLASSES = 10  # with fewer classes, top-5 accuracy says little


class Predictions(Protocol):
    """True and predicted classes, (N,) each: an `Evaluation`, or `SavedPredictions` of a run."""

    @property
    def labels(self) -> Any: ...
    @property
    def predicted(self) -> Any: ...


def confusion_counts(evaluation: Predictions, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the confusion matrix (K, K) of counts: a row is a true class, a column a predicted class."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(evaluation.labels, evaluation.predicted, labels=range(len(classes)))
    return np.asarray(counts, dtype=np.int64)


def class_metrics(evaluation: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return images, precision, recall and F1 of each class; 0 if the class was never predicted or has no images."""
    from sklearn.metrics import precision_recall_fscore_support

    metrics = precision_recall_fscore_support(
        evaluation.labels, evaluation.predicted, labels=range(len(classes)), zero_division=0
    )
    rows = zip(classes, *(metric.tolist() for metric in metrics), strict=True)
    return [
        {"class": name, "images": int(images), "precision": precision, "recall": recall, "f1": f1}
        for name, precision, recall, f1, images in rows
    ]


def confident_mistakes(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probability: NDArray[np.floating[Any]],
    loss: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    """Return the rows of the wrong predictions, by falling probability, then by falling loss.

    A probability that is not a number counts as 0, such a loss as infinite.
    """
    wrong = np.flatnonzero(labels != predicted)
    confidence = np.nan_to_num(probability[wrong].astype(np.float64), nan=0.0)
    cost = np.nan_to_num(loss[wrong].astype(np.float64), nan=np.inf, posinf=np.inf)
    return wrong[np.lexsort((-cost, -confidence))]


def split_metrics(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Return samples, loss, accuracy and, from 10 classes on, top-5 accuracy."""
    metrics = {"samples": len(evaluation.labels), "loss": evaluation.loss, "accuracy": evaluation.accuracy}
    return metrics | ({"top5_accuracy": evaluation.top(5)} if len(classes) >= MIN_TOP5_CLASSES else {})


def write_predictions(run: Run, evaluation: Evaluation, split: Split, classes: Sequence[str]) -> None:
    """Write predictions.csv: a line an image, with the probability of the predicted class and the loss."""
    predicted = evaluation.predicted
    probabilities = evaluation.probabilities.gather(1, predicted[:, None])[:, 0]
    columns = (split.ids.tolist(), evaluation.labels.tolist(), predicted.tolist())
    rows = zip(*columns, probabilities.tolist(), evaluation.losses.tolist(), strict=True)
    run.write_csv(
        "predictions.csv",
        ("sample", "true", "predicted", "probability", "loss"),
        (
            (sample, classes[true], classes[prediction], f"{probability:.6f}", f"{loss:.6f}")
            for sample, true, prediction, probability, loss in rows
        ),
    )
