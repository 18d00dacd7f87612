"""The end of a run: the test set is read once, with the best weights, and the results are written."""

import time
from typing import Any

from lenext.data.dataset import Split
from lenext.foundation.group import Group
from lenext.foundation.intervals import format_interval
from lenext.foundation.settings import TestTimeAugmentation
from lenext.reporting.console import Console, format_duration
from lenext.reporting.result_figures import write_test_figures
from lenext.reporting.tables import build_table
from lenext.runs import weights
from lenext.runs.folder import Run
from lenext.runs.results import class_metrics, split_metrics, write_predictions
from lenext.training.evaluation import Evaluation, evaluate_split
from lenext.training.loop import stopped_early
from lenext.training.state import TrainingState
from lenext.workflows.job import Job

TTA_VIEWS: dict[TestTimeAugmentation, str] = {
    "none": "",
    "flip": ", mean of 2 views",
    "shift": ", mean of 3 views",
    "flip_and_shift": ", mean of 6 views",
}
MAX_TABLE_CLASSES = 20


def finish_run(
    job: Job,
    run: Run,
    console: Console,
    state: TrainingState,
    training_seconds: float,
    reads_test: bool,
    group: Group,
) -> None:
    """Measure the test set with the best weights, and write the results.

    Args:
        job: What was trained.
        run: Its folder.
        console: Where the results are printed.
        state: At the end of training.
        training_seconds: Of all processes.
        reads_test: Whether the test set is measured.
        group: The processes that measure it together.
    """
    best, records = state.best, state.records
    if job.data.validation is None:
        weights.save(run.weights("best"), state.trained, job.description)
    validation = job.data.validation or (job.data.test if job.recipe.select_on_test else None)
    results: dict[str, Any] = {
        "epochs": len(records),
        "steps": job.recipe.steps,
        "stopped_early": stopped_early(state, job.settings.schedule),
        "best_epoch": best.epoch if best else None,
        "weights": describe_selection(job),
        "training_seconds": training_seconds,
        "train_accuracy_is": "running mean, in training mode",
        "validation": {
            "accuracy": best.val_accuracy,
            "loss": best.val_loss,
            "samples": len(validation) if validation else 0,
        }
        if best
        else None,
    }
    if job.data.test is not None and reads_test:
        results |= measure_test(job, run, console, state, job.data.test, training_seconds, group)
    run.write_json("results.json", results)
    figures = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
    console.print(f"figures: {figures} in {run.path}")


def describe_selection(job: Job) -> str:
    """Return how the best weights were selected."""
    if job.recipe.select_on_test:
        return "best on the test set, as published: its figures flatter"
    return "best on validation" if job.data.validation else "last"


def measure_test(
    job: Job,
    run: Run,
    console: Console,
    state: TrainingState,
    test: Split,
    training_seconds: float,
    group: Group,
) -> dict[str, Any]:
    """Read the test set with the best weights; write predictions and figures, print the metrics and return them."""
    best, settings, classes = state.best, job.settings, job.data.classes
    reads = run.test_reads + 1  # a run that was given more epochs has read it before
    reads += len(state.records) if job.recipe.select_on_test else 0
    tensors, description = weights.load(run.weights("best"))
    weights.restore_network(tensors, description, run.weights("best"), job.network)
    begun = time.perf_counter()
    evaluation = measure_together(job, test, group)
    seconds = time.perf_counter() - begun
    by_class = class_metrics(evaluation, classes)
    write_predictions(run, evaluation, test, classes)
    write_test_figures(run, evaluation, test, classes, job.title)
    used = f"best weights, epoch {best.epoch}" if best and job.data.validation else "last weights"
    console.print()
    print_class_table(console, by_class, "test images by class")
    console.print(
        f"\ntest accuracy {evaluation.accuracy:.2%} ({format_interval(evaluation.accuracy, len(evaluation.labels))}), "
        f"loss {evaluation.loss:.4f} on {len(evaluation.labels):,} images "
        f"({used}{TTA_VIEWS[settings.evaluation.tta]}); {format_duration(training_seconds)} of training"
    )
    return {
        "test": split_metrics(evaluation, classes),
        "classes": by_class,
        "test_reads": reads,
        "test_seconds": seconds,
    }


def measure_together(job: Job, test: Split, group: Group) -> Evaluation:
    """Measure the test set in all processes, with the weights of the first one."""
    if group.size > 1:
        job.network.load_state_dict(group.share(dict(job.network.state_dict())))
    settings = job.settings
    return evaluate_split(
        job.network, test, settings.images, job.compute, settings.evaluation.tta,
        workers=settings.machine.workers, group=group,
    )  # fmt: skip


def print_class_table(console: Console, metrics: list[dict[str, Any]], title: str) -> None:
    """Print the metrics by class; of many classes the worst."""
    if len(metrics) > MAX_TABLE_CLASSES:
        metrics = sorted(metrics, key=lambda row: float(row["f1"]))[:MAX_TABLE_CLASSES]
        title += f", the {MAX_TABLE_CLASSES} worst"
    numbers = ("precision", "recall", "f1")
    rows = [[row["class"], str(row["images"]), *(f"{row[key]:.3f}" for key in numbers)] for row in metrics]
    columns = {"class": "left", "images": "right", "precision": "right", "recall": "right", "F1": "right"}
    console.print(build_table(title, columns, rows))
