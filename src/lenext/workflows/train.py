"""`train`: from a name and some data to a run on disk."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lenext.data import DATASETS, IN_PYTHON
from lenext.data.dataset import Dataset, Split
from lenext.foundation.device import use_threads
from lenext.foundation.errors import LenextError
from lenext.foundation.files import expanded, write_atomic
from lenext.models.own import is_own
from lenext.reporting.console import Narrator, seconds
from lenext.reporting.pictures import write_curves, write_test_pictures
from lenext.reporting.tables import table
from lenext.runs import weights
from lenext.runs.folder import Run
from lenext.runs.results import class_figures, figures_of, write_predictions
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import divided, events
from lenext.training.notices import chance_notice
from lenext.training.recipe import Experiment, Recipe
from lenext.training.state import Record, Step, TrainingState
from lenext.workflows.job import Job
from lenext.workflows.machine import environment
from lenext.workflows.prepare import (
    experiment_of,
    load_data,
    made_for,
)

MOST_CLASSES = 20  # shown in the table at the end


def train(
    network: str | nn.Module = "",
    data: str | Path | Dataset = "",
    *,
    recipe: str | Recipe = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    options: Mapping[str, Any] | None = None,
    pretrained: bool | str = False,
    freeze: str = "",
    test_data: str = "",
    label_column: str = "",
    on_bad_image: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a network on data and leave a run: weights, records, pictures, predictions for the test set.

    network: a name of MODELS, `FILE.py:Class`, or a module (lenet where nothing says otherwise)
    data: a name of DATASETS, a path, or a Dataset (the digits where nothing says otherwise)
    recipe: a name of RECIPES, a YAML file, or a Recipe; `settings` are keys of a Recipe and win over it
    name, runs_dir: where the run goes; without a name it is NETWORK-DATA with the next free suffix
    options: of the network's constructor
    pretrained: True for published ImageNet weights, or a file of weights; freeze: parts that are not to learn,
        comma-separated, `backbone` for all but the last layer
    test_data, label_column, on_bad_image, data_dir, offline: as for `load`

    Raises LenextError for whatever the user can mend. On Ctrl-C the weights so far are saved, then KeyboardInterrupt.
    """
    outer = {
        "network": network if isinstance(network, str) else "",
        "data": "" if isinstance(data, Dataset) else str(data),
        "test_data": str(test_data),
        "label_column": label_column,
        "on_bad_image": on_bad_image,
        "options": dict(options or {}),
        "pretrained": "imagenet" if pretrained is True else str(pretrained or ""),
        "freeze": freeze,
    }
    experiment = experiment_of(recipe, outer, settings)
    if isinstance(network, nn.Module):
        experiment = replace(experiment, network="")
    if isinstance(data, Dataset):
        experiment = replace(experiment, data=f"{IN_PYTHON}{data.name}")
    experiment = made_for(replace(experiment, recipe=experiment.recipe.settled()))
    folder = (expanded(runs_dir), name, default_name(network, experiment))
    Run.choose(*folder)
    before = torch.get_num_threads()
    try:
        with Narrator(quiet) as narrator:
            use_threads(experiment.recipe.threads)
            whole = data if isinstance(data, Dataset) else load_data(experiment, data_dir, offline)
            job = Job(lasting(experiment), divided(whole, experiment.recipe), network, data_dir, offline)
            plan = job.plan()
            run = Run.create(*folder)
            narrator.write_log(run.path / "train.log")
            narrator.facts(plan | {"run": str(run.path)})
            for note in job.notes():
                narrator.say(f"note: {note}")
            narrator.say()
            training = Training(job, run, narrator)
            training.begin(data_dir)
            stopped = training.train()
            training.finish(stopped)
    finally:
        torch.set_num_threads(before)
    if stopped:
        raise KeyboardInterrupt
    return run


def lasting(experiment: Experiment) -> Experiment:
    """The same with paths that hold from any folder."""

    def full(path: str) -> str:
        return str(expanded(path).resolve()) if path and "://" not in path and expanded(path).exists() else path

    file, colon, name = experiment.network.rpartition(":")
    network = f"{full(file)}{colon}{name}" if is_own(experiment.network) else experiment.network
    data = experiment.data if experiment.data in DATASETS else full(experiment.data)
    weights = full(experiment.pretrained) if experiment.pretrained != "imagenet" else "imagenet"
    return replace(experiment, network=network, data=data, test_data=full(experiment.test_data), pretrained=weights)


def default_name(network: str | nn.Module, experiment: Experiment) -> str:
    """NETWORK-DATA, out of the last parts of paths."""
    called = type(network).__name__ if isinstance(network, nn.Module) else experiment.network.rpartition(":")[2]
    data = experiment.data.removeprefix(IN_PYTHON).rstrip("/").split("?")[0]
    return f"{called}-{Path(data).stem or 'data'}".lower().replace(" ", "_")


class Training:
    """A job at work: it trains, and writes the run as it goes."""

    def __init__(self, job: Job, run: Run, narrator: Narrator) -> None:
        self.job, self.run, self.narrator = job, run, narrator
        self.state = TrainingState.begin(job.network, job.recipe)
        self.seconds = 0.0

    def begin(self, data_dir: str | Path | None) -> None:
        """Write what is known before training."""
        job, splits = self.job, self.job.data.splits()
        write_atomic(self.run.path / "recipe.yaml", job.experiment.to_yaml())
        place = {"data_dir": str(expanded(data_dir).resolve())} if data_dir else {}
        self.run.write_json("environment.json", environment(job.compute) | place)
        kept = [*job.data.carved, *(["train"] if job.recipe.train_samples != "all" else [])]
        self.run.write_json(
            "split.json",
            {
                "source": dict(job.data.source),
                "classes": list(job.data.classes),
                "method": job.recipe.split,
                "seed": job.recipe.split_seed,
                "samples": {part: len(split) for part, split in splits.items()},
                "taken_out_of_train": {part: splits[part].ids.tolist() for part in kept},
            },
        )

    def train(self) -> bool:
        """Train, writing records and the best weights as they come; whether it was stopped by a signal."""
        job, state, begun, stopped = self.job, self.state, time.perf_counter(), False
        with stop_signal() as asked, self.narrator.epochs(job.recipe.epochs, len(job.data.train)) as bar:
            for event in self.events():
                if isinstance(event, Step):
                    bar.step(event)
                else:
                    best = event is state.best and event.val_accuracy is not None
                    if best:
                        weights.save(self.run.weights("best"), state.trained, job.description)
                    self.run.write_records(state.records)
                    bar.record(event, best)
                    if notice := self.notice():
                        self.narrator.say(f"note: {notice}")
                if asked():
                    stopped = True
                    break
        self.seconds = time.perf_counter() - begun
        if not stopped and state.best and state.epoch < job.recipe.epochs:
            waited, best_epoch = state.epoch - state.best.epoch, state.best.epoch
            self.narrator.say(f"stopped early: {waited} epochs without a better validation than in epoch {best_epoch}")
        return stopped

    def events(self) -> Iterator[Step | Record]:
        """The events of training; an error is in the log, and the last weights are saved, before it goes on its way."""
        try:
            yield from events(self.state, self.job.data, self.job.recipe, prepare=self.job.prepare)
        except LenextError as error:
            weights.save(self.run.weights("last"), self.state.trained, self.job.description)
            self.narrator.note(f"stopped: {error}")
            raise

    def notice(self) -> str:
        """What the records so far give reason to say."""
        counts = self.job.data.train.labels.bincount()
        normed = any("Norm" in type(module).__name__ for module in self.job.network.modules())
        share = float(counts.max() / counts.sum())
        return chance_notice(self.state.records, share, len(self.job.data.classes), self.job.recipe, normed)

    def finish(self, stopped: bool) -> None:
        """Write the last weights; then, unless it was stopped, read the test set once, with the best ones."""
        job, run, best, records = self.job, self.run, self.state.best, self.state.records
        weights.save(run.weights("last"), self.state.trained, job.description)
        if records:
            write_curves(run, records, job.title, best.epoch if best else None)
        if stopped:
            said = f"stopped after {len(records)} of {job.recipe.epochs} epochs"
            self.narrator.say(f"\n{said}; the weights so far are in {run.path}")
            return
        if job.data.validation is None:
            weights.save(run.weights("best"), self.state.trained, job.description)
        results: dict[str, Any] = {
            "epochs": len(records),
            "best_epoch": best.epoch if best else None,
            "weights": "best on validation" if job.data.validation else "last",
            "training_seconds": self.seconds,
            "train_accuracy_is": "running mean, in training mode",
            "validation": {"accuracy": best.val_accuracy, "loss": best.val_loss} if best else None,
        }
        if job.data.test is not None:
            results |= self.measure_test(job.data.test)
        run.write_json("results.json", results)
        pictures = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
        self.narrator.say(f"pictures: {pictures} in {run.path}")

    def measure_test(self, test: Split) -> dict[str, Any]:
        """Read the test set with the best weights; write predictions and pictures, tell the figures and return them."""
        job, run, best = self.job, self.run, self.state.best
        tensors, description = weights.load(run.weights("best"))
        weights.restore(tensors, description, run.weights("best"), job.network)
        seen = evaluate_split(job.network, test, job.prepare, job.compute)
        by_class = class_figures(seen, job.data.classes)
        write_predictions(run, seen, test, job.data.classes)
        write_test_pictures(run, seen, test, job.data.classes, job.title)
        used = f"best weights, epoch {best.epoch}" if best and job.data.validation else "last weights"
        self.narrator.say()
        tell_classes(self.narrator, by_class, "test pictures by class")
        self.narrator.say(
            f"\ntest accuracy {seen.accuracy:.2%}, loss {seen.loss:.4f} on {len(seen.labels):,} pictures "
            f"({used}); {seconds(self.seconds)} of training"
        )
        return {"test": figures_of(seen, job.data.classes), "classes": by_class, "test_reads": 1}


def tell_classes(narrator: Narrator, figures: list[dict[str, Any]], title: str) -> None:
    """The table by class; of many classes the worst."""
    if len(figures) > MOST_CLASSES:
        figures = sorted(figures, key=lambda row: float(row["f1"]))[:MOST_CLASSES]
        title += f", the {MOST_CLASSES} worst"
    numbers = ("precision", "recall", "f1")
    rows = [[row["class"], str(row["pictures"]), *(f"{row[key]:.3f}" for key in numbers)] for row in figures]
    columns = {"class": "left", "pictures": "right", "precision": "right", "recall": "right", "F1": "right"}
    narrator.say(table(title, columns, rows))


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came: the first one asks to stop after the step, a second one ends at once."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return

    def note(number: int, _: object) -> None:
        if came.is_set():
            raise KeyboardInterrupt
        came.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
