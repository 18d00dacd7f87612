"""Figures of runs: the curves of training, and the predictions on the test set."""

import numpy as np
from matplotlib.figure import Figure

from lenext.foundation.errors import ConfigurationError
from lenext.reporting.figures.confusion import class_bars, confusion_matrix, reliability_diagram
from lenext.reporting.figures.training import run_curves
from lenext.runs.results import class_metrics
from lenext.workflows.opened_run import open_run
from lenext.workflows.show.inputs import AnyRun


def curves(*runs: AnyRun) -> Figure:
    """Draw the loss and accuracy of one or more runs by epoch, over each other.

    Args:
        runs: Runs, or their folders.

    Raises:
        ConfigurationError: No run is named.
        RunError: A run cannot be opened, or its results.csv cannot be read.
    """
    if not runs:
        raise ConfigurationError("curves: name one or more runs")
    folders = [open_run(run).run for run in runs]
    return run_curves({folder.path.name: folder.records for folder in folders}, "Runs side by side")


def confusion(run: AnyRun, *, normalized: bool = False) -> Figure:
    """Draw the confusion matrix of a run's test images.

    Args:
        run: A run, or its folder.
        normalized: Whether cells hold per cent of the true class instead of images.

    Raises:
        DataError: The run has not read its test set.
        RunError: The run cannot be opened.
    """
    opened = open_run(run)
    answers, counts = opened.answers, opened.answers.confusion()
    title = f"{opened.run.path.name}: {answers.accuracy:.2%} of {len(answers):,} test images correct"
    if normalized:
        counts = np.rint(100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype(np.int64)
        title = f"{title}\nper cent of the true class"
    return confusion_matrix(counts, answers.classes, title)


def classes(run: AnyRun) -> Figure:
    """Draw precision, recall and F1 by class of a run's test images, the worst F1 on top.

    Args:
        run: A run, or its folder.

    Raises:
        DataError: The run has not read its test set.
        RunError: The run cannot be opened.
    """
    opened = open_run(run)
    rows = class_metrics(opened.answers, opened.answers.classes)
    return class_bars(rows, f"{opened.run.path.name}: test images by class")


def reliability(run: AnyRun) -> Figure:
    """Draw a run's reliability diagram: accuracy on the test images by predicted probability.

    Args:
        run: A run, or its folder.

    Raises:
        DataError: The run has not read its test set.
        RunError: The run cannot be opened.
    """
    opened = open_run(run)
    answers = opened.answers
    return reliability_diagram(answers.reliability_bins(), answers.calibration_error, opened.run.path.name)
