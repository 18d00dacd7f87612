"""The pictures that lie beside a run."""

from collections.abc import Sequence

import torch

from lenext.data.dataset import Split
from lenext.reporting.figures import WRONG, confusion_matrix, curves, gallery, save_figure, short
from lenext.runs.folder import Run
from lenext.runs.results import confusion
from lenext.training.evaluation import Evaluation
from lenext.training.state import Record

MISTAKES = 32  # pictures shown


def write_curves(run: Run, records: Sequence[Record], title: str, best_epoch: int | None) -> None:
    """results.png"""
    save_figure(curves(records, title, best_epoch), run.path / "results.png")


def write_test_pictures(run: Run, evaluation: Evaluation, split: Split, classes: Sequence[str], title: str) -> None:
    """confusion_matrix.png, and mistakes.png: the wrong answers that cost most, as the data have the pictures."""
    right = f"{evaluation.accuracy:.2%} of {len(split):,} test pictures right"
    figure = confusion_matrix(confusion(evaluation, classes), classes, f"{title}\n{right}")
    save_figure(figure, run.path / "confusion_matrix.png")
    wrong = (evaluation.predicted != evaluation.labels).nonzero()[:, 0]
    rows = wrong[evaluation.losses[wrong].argsort(descending=True, stable=True)][:MISTAKES]
    captions = []
    for row in rows.tolist():
        answer = int(evaluation.predicted[row])
        share = float(evaluation.probabilities[row, answer])
        captions.append(
            f"{short(classes[answer], 16)} ({share:.0%})\ntrue: {short(classes[int(evaluation.labels[row])], 16)}"
        )
    pixels = split.images[rows] if len(rows) else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
    shown = f"the {len(rows)} worst of {len(wrong):,} mistakes" if len(wrong) > len(rows) else f"{len(wrong)} mistakes"
    figure = gallery(pixels.numpy(), captions, f"{title}: {shown}", colors=[WRONG] * len(rows))
    save_figure(figure, run.path / "mistakes.png")
