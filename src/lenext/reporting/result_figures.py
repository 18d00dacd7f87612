"""The figures that training writes into a run's folder: results.png, confusion_matrix.png and mistakes.png."""

from collections.abc import Sequence

import torch

from lenext.data.dataset import Split
from lenext.reporting.figures.canvas import WRONG, save_figure, shorten
from lenext.reporting.figures.confusion import confusion_matrix
from lenext.reporting.figures.images import image_grid
from lenext.reporting.figures.training import training_curves
from lenext.runs.folder import Run
from lenext.runs.results import confident_mistakes, confusion_counts
from lenext.training.evaluation import Evaluation
from lenext.training.metrics import Record
from lenext.training.schedule import Curve

MAX_MISTAKES = 32  # images
MAX_NAME_CHARACTERS = 16


def write_training_curves(
    run: Run, records: Sequence[Record], title: str, best_epoch: int | None, rates: Curve
) -> None:
    """Write results.png.

    Args:
        run: The run.
        records: One per epoch.
        title: The title of the figure.
        best_epoch: The epoch whose weights were chosen.
        rates: The learning rate by epoch, as `learning_rate_curve` returns it.
    """
    save_figure(training_curves(records, title, best_epoch, rates), run.path / "results.png")


def write_test_figures(run: Run, evaluation: Evaluation, split: Split, classes: Sequence[str], title: str) -> None:
    """Write confusion_matrix.png, and mistakes.png with the most confident wrong predictions on stored images."""
    correct = f"{evaluation.accuracy:.2%} of {len(split):,} test images correct"
    figure = confusion_matrix(confusion_counts(evaluation, classes), classes, f"{title}\n{correct}")
    save_figure(figure, run.path / "confusion_matrix.png")
    predicted = evaluation.predicted
    probabilities = evaluation.probabilities.gather(1, predicted[:, None])[:, 0]
    columns = (evaluation.labels, predicted, probabilities, evaluation.losses)
    mistakes = confident_mistakes(*(column.numpy() for column in columns))
    rows = torch.from_numpy(mistakes[:MAX_MISTAKES])
    names = [shorten(name, MAX_NAME_CHARACTERS) for name in classes]
    captions = [
        f"{names[int(predicted[row])]} ({float(probabilities[row]):.0%})\ntrue: {names[int(evaluation.labels[row])]}"
        for row in rows.tolist()
    ]
    pixels = split.images[rows] if len(rows) else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
    number = f"{len(mistakes):,} mistakes, the most confident first"
    if len(mistakes) > len(rows):
        number = f"the {len(rows)} most confident of {len(mistakes):,} mistakes"
    figure = image_grid(pixels.numpy(), captions, f"{title}: {number}", colors=[WRONG] * len(rows))
    save_figure(figure, run.path / "mistakes.png")
