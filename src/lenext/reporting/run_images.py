"""The images that lie beside a run."""

from collections.abc import Sequence

import torch

from lenext.data.dataset import Split
from lenext.reporting.figures import WRONG, confusion_matrix, curves, gallery, save_figure, short
from lenext.runs.folder import Run
from lenext.runs.results import confident_mistakes, confusion_counts
from lenext.training.evaluation import Evaluation
from lenext.training.schedule import Curve
from lenext.training.state import Record

MISTAKES = 32  # images shown


def write_curves(run: Run, records: Sequence[Record], title: str, best_epoch: int | None, rates: Curve) -> None:
    """Write results.png. rates: the learning rate by epoch, as `learning_rate_curve` gives it."""
    save_figure(curves(records, title, best_epoch, rates), run.path / "results.png")


def write_test_figures(run: Run, evaluation: Evaluation, split: Split, classes: Sequence[str], title: str) -> None:
    """Write confusion_matrix.png, and mistakes.png: the most confident wrong answers, as the data have the images."""
    right = f"{evaluation.accuracy:.2%} of {len(split):,} test images right"
    figure = confusion_matrix(confusion_counts(evaluation, classes), classes, f"{title}\n{right}")
    save_figure(figure, run.path / "confusion_matrix.png")
    answers = evaluation.predicted
    probability = evaluation.probabilities.gather(1, answers[:, None])[:, 0]
    columns = (evaluation.labels, answers, probability, evaluation.losses)
    wrong = confident_mistakes(*(column.numpy() for column in columns))
    rows = torch.from_numpy(wrong[:MISTAKES])
    captions = []
    for row in rows.tolist():
        answer, share = int(answers[row]), float(probability[row])
        captions.append(
            f"{short(classes[answer], 16)} ({share:.0%})\ntrue: {short(classes[int(evaluation.labels[row])], 16)}"
        )
    pixels = split.images[rows] if len(rows) else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
    shown = f"{len(wrong):,} mistakes, the most confident first"
    if len(wrong) > len(rows):
        shown = f"the {len(rows)} most confident of {len(wrong):,} mistakes"
    figure = gallery(pixels.numpy(), captions, f"{title}: {shown}", colors=[WRONG] * len(rows))
    save_figure(figure, run.path / "mistakes.png")
