"""`train`: from a name and some data to a run on disk."""

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from lenext.data import DATASETS, IN_PYTHON
from lenext.data.batches import cuts
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute, use_threads
from lenext.foundation.errors import ConfigurationError, LenextError, TrainingError
from lenext.foundation.files import expanded, write_atomic
from lenext.models import find_variant
from lenext.models.own import is_own
from lenext.reporting.console import Narrator, plain_table, seconds
from lenext.reporting.pictures import write_curves, write_test_pictures
from lenext.runs import weights
from lenext.runs.folder import Run
from lenext.runs.results import class_figures, figures_of, write_predictions
from lenext.runs.weights import Description
from lenext.training.loop import augmentation, divided, evaluate_split, events
from lenext.training.notices import chance_notice
from lenext.training.recipe import Experiment, Recipe
from lenext.training.state import Record, Step, TrainingState
from lenext.workflows.machine import environment
from lenext.workflows.prepare import (
    build_network,
    check_fit,
    experiment_of,
    load_data,
    made_for,
    network_options,
    prepared,
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
            work = Work(lasting(experiment), divided(whole, experiment.recipe), network, data_dir, offline)
            plan = work.plan()
            run = Run.create(*folder)
            narrator.write_log(run.path / "train.log")
            narrator.facts(plan | {"run": str(run.path)})
            work.tell_notes(narrator)
            work.begin(run, data_dir)
            stopped = work.train(run, narrator)
            work.finish(run, narrator, stopped)
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


class Work:
    """One training in progress: the experiment, its divided data, its network, and what is written about them."""

    def __init__(
        self,
        experiment: Experiment,
        data: Dataset,
        network: str | nn.Module,
        data_dir: str | Path | None,
        offline: bool,
    ) -> None:
        self.experiment, self.recipe, self.data = experiment, experiment.recipe, data
        self.compute = Compute.choose(self.recipe.device, self.recipe.precision, self.recipe.memory_format)
        self.prepare = prepared(data, experiment)
        shape, classes = self.prepare.input_shape, len(data.classes)
        options: dict[str, Any] = {}
        if isinstance(network, nn.Module):
            self.network = network
        else:
            options = network_options(experiment, shape[0], classes, shape[1])
            self.network = build_network(experiment, options, data_dir, offline)
        check_fit(self.network, experiment, shape, classes)
        self.description = Description(experiment.network, options, data.classes, self.prepare)

    @property
    def is_own(self) -> bool:
        return not self.experiment.network or is_own(self.experiment.network)

    @property
    def title(self) -> str:
        return f"{type(self.network).__name__ if self.is_own else self.experiment.network} on {self.data.name}"

    def plan(self) -> dict[str, str]:
        """What will be done, to be said before it is done."""
        recipe, data = self.recipe, self.data
        parameters = sum(one.numel() for one in self.network.parameters())
        shape = " x ".join(map(str, self.prepare.input_shape))
        name = self.experiment.network or type(self.network).__name__
        source = "" if self.is_own else f" ({find_variant(name).source})"
        source += f", pretrained ({self.experiment.pretrained})" if self.experiment.pretrained else ""
        sizes = ", ".join(f"{len(split):,} {part}" for part, split in data.splits().items())
        early = f", early stopping after {recipe.early_stopping}" if recipe.early_stopping else ""
        return {
            "network": f"{name}{source}: {parameters:,} parameters",
            "data": f"{data.name}: {sizes} pictures",
            "split": self.how_split(),
            "recipe": f"{recipe.optimizer}, learning rate {recipe.learning_rate:g} ({recipe.schedule}), "
            f"{recipe.epochs} epochs of batches of {recipe.batch_size}{early}, seed {recipe.seed}",
            "pictures": f"{shape}, {len(data.classes)} classes; scaling {recipe.scaling}; "
            f"augmentation: {augmentation(data, recipe).describe()}",
            "device": self.compute.describe(),
            "time": self.expected(),
        }

    def tell_notes(self, narrator: Narrator) -> None:
        """Say what else a person should know."""
        recipe, data = self.recipe, self.data
        last = cuts(len(data.train), recipe.batch_size)[-1]
        if last.stop - last.start == recipe.batch_size + 1:
            narrator.say(f"note: the last batch has {recipe.batch_size + 1} pictures; one alone breaks batch norm")
        if self.prepare.network_channels > self.prepare.channels:
            narrator.say("note: the weights are for colour; grey pictures are repeated to three channels")
        frozen = sum(one.numel() for one in self.network.parameters() if not one.requires_grad)
        if frozen:
            narrator.say(f"note: {frozen:,} parameters are frozen")
        for note in data.notes:
            narrator.say(f"note: {note}")
        narrator.say()

    def how_split(self) -> str:
        """Where the validation and test pictures come from."""
        own = "the source's own"
        carved = f"taken out of train ({self.recipe.split}, seed {self.recipe.split_seed})"
        validation = (
            "none" if self.data.validation is None else (own if "validation" not in self.data.carved else carved)
        )
        test = carved if "test" in self.data.carved else own
        return f"validation {validation}; test {'none' if self.data.test is None else test}"

    def expected(self) -> str:
        """How long an epoch will take, from a few steps of a copy of the network."""
        per_epoch = len(cuts(len(self.data.train), self.recipe.batch_size))
        checked = len(cuts(len(self.data.validation), self.recipe.batch_size)) if self.data.validation else 0
        checked += per_epoch if self.recipe.evaluate_training else 0
        try:
            trial = TrainingState.begin(copy.deepcopy(self.network), replace(self.recipe, initialization="default"))
        except (RuntimeError, TypeError) as error:
            return f"not known ({type(self.network).__name__} cannot be copied: {error})"
        times: list[float] = []
        begun = last = time.perf_counter()
        try:
            for event in events(trial, self.data, self.recipe, prepare=self.prepare):
                if not isinstance(event, Step) or event.phase == "validation":
                    break
                float(event.loss)  # waits for the device
                now = time.perf_counter()
                times.append(now - last)
                last = now
                if len(times) == 8 or now - begun > 5:
                    break
        except TrainingError:
            pass  # training will tell it, with what there is by then
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            what = " ".join(str(error).split())
            raise ConfigurationError(f"{self.title}: the first training step fails: {what}") from error
        if not times:
            return "not known"
        step = median(times[1:] or times)
        epoch = step * (per_epoch + checked / 3)
        whole = f", {seconds(epoch * self.recipe.epochs)} for {self.recipe.epochs}" if self.recipe.epochs > 1 else ""
        return f"about {seconds(epoch)} an epoch{whole} (from {len(times)} steps)"

    def begin(self, run: Run, data_dir: str | Path | None) -> None:
        """Write what is known before training."""
        write_atomic(run.path / "recipe.yaml", self.experiment.to_yaml())
        place = {"data_dir": str(expanded(data_dir).resolve())} if data_dir else {}
        run.write_json("environment.json", environment(self.compute) | place)
        splits = self.data.splits()
        kept = [*self.data.carved, *(["train"] if self.recipe.train_samples != "all" else [])]
        run.write_json(
            "split.json",
            {
                "source": dict(self.data.source),
                "classes": list(self.data.classes),
                "method": self.recipe.split,
                "seed": self.recipe.split_seed,
                "samples": {part: len(split) for part, split in splits.items()},
                "taken_out_of_train": {part: splits[part].ids.tolist() for part in kept},
            },
        )

    def train(self, run: Run, narrator: Narrator) -> bool:
        """Train, writing records and the best weights as they come; whether it was stopped by a signal."""
        self.state = TrainingState.begin(self.network, self.recipe)
        self.begun = time.perf_counter()
        stopped = False
        with stop_signal() as asked, narrator.epochs(self.recipe.epochs, len(self.data.train)) as bar:
            for event in self.told(narrator, run):
                if isinstance(event, Step):
                    bar.step(event)
                else:
                    best = event is self.state.best
                    if best and event.val_accuracy is not None:
                        weights.save(run.weights("best"), self.network, self.description)
                    run.write_records(self.state.records)
                    bar.record(event, best and event.val_accuracy is not None)
                    if notice := self.notice():
                        narrator.say(f"note: {notice}")
                if asked():
                    stopped = True
                    break
        self.seconds = time.perf_counter() - self.begun
        if not stopped and self.state.best and self.state.epoch < self.recipe.epochs:
            waited = self.state.epoch - self.state.best.epoch
            narrator.say(
                f"stopped early: {waited} epochs without a better validation than in epoch {self.state.best.epoch}"
            )
        return stopped

    def notice(self) -> str:
        """What the records so far give reason to say."""
        counts = self.data.train.labels.bincount()
        normed = any("Norm" in type(module).__name__ for module in self.network.modules())
        share = float(counts.max() / counts.sum())
        return chance_notice(self.state.records, share, len(self.data.classes), self.recipe, normed)

    def told(self, narrator: Narrator, run: Run) -> Iterator[Step | Record]:
        """The events of training; an error is in the log, and the last weights are saved, before it goes on its way."""
        try:
            yield from events(self.state, self.data, self.recipe, prepare=self.prepare)
        except LenextError as error:
            weights.save(run.weights("last"), self.network, self.description)
            narrator.note(f"stopped: {error}")
            raise

    def finish(self, run: Run, narrator: Narrator, stopped: bool) -> None:
        """Write the last weights; then, unless it was stopped, read the test set once, with the best ones."""
        weights.save(run.weights("last"), self.network, self.description)
        best, records = self.state.best, self.state.records
        if records:
            write_curves(run, records, self.title, best.epoch if best else None)
        if stopped:
            narrator.say(
                f"\nstopped after {len(records)} of {self.recipe.epochs} epochs; the weights so far are in {run.path}"
            )
            return
        if self.data.validation is None:
            weights.save(run.weights("best"), self.network, self.description)
        results: dict[str, Any] = {
            "epochs": len(records),
            "best_epoch": best.epoch if best else None,
            "weights": "best on validation" if self.data.validation else "last",
            "training_seconds": self.seconds,
            "train_accuracy_is": "running mean, in training mode",
            "validation": {"accuracy": best.val_accuracy, "loss": best.val_loss} if best else None,
        }
        if self.data.test is not None:
            tensors, description = weights.load(run.weights("best"))
            weights.restore(tensors, description, run.weights("best"), self.network)
            seen = evaluate_split(self.network, self.data.test, self.prepare, self.compute, self.recipe.batch_size)
            by_class = class_figures(seen, self.data.classes)
            results |= {"test": figures_of(seen, self.data.classes), "classes": by_class, "test_reads": 1}
            run.write_json("results.json", results)
            write_predictions(run, seen, self.data.test, self.data.classes)
            write_test_pictures(run, seen, self.data.test, self.data.classes, self.title)
            used = f"best weights, epoch {best.epoch}" if best and self.data.validation else "last weights"
            narrator.say()
            tell_classes(narrator, by_class, "test pictures by class")
            narrator.say(
                f"\ntest accuracy {seen.accuracy:.2%}, loss {seen.loss:.4f} on {len(seen.labels):,} pictures "
                f"({used}); {seconds(self.seconds)} of training"
            )
        run.write_json("results.json", results)
        pictures = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
        narrator.say(f"pictures: {pictures} in {run.path}")


def tell_classes(narrator: Narrator, figures: list[dict[str, Any]], title: str) -> None:
    """The table by class; of many classes the worst."""
    if len(figures) > MOST_CLASSES:
        figures = sorted(figures, key=lambda row: float(row["f1"]))[:MOST_CLASSES]
        title += f", the {MOST_CLASSES} worst"
    numbers = ("precision", "recall", "f1")
    rows = [[row["class"], str(row["pictures"]), *(f"{row[key]:.3f}" for key in numbers)] for row in figures]
    columns = {"class": "left", "pictures": "right", "precision": "right", "recall": "right", "F1": "right"}
    narrator.say(plain_table(title, columns, rows))


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
