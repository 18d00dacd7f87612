"""A training at work in its run's folder: from where it is to the end, or to where it was stopped."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from lenext.acceleration.memory import keep_freed_memory_until_exit
from lenext.data.dataset import Split
from lenext.foundation.errors import LenextError, RunError, TrainingError
from lenext.foundation.files import expand_path, free_space, write_atomic
from lenext.foundation.signals import StoppedError, StopSignal
from lenext.reporting.console import Console, format_duration
from lenext.reporting.result_figures import write_test_figures, write_training_curves
from lenext.reporting.tables import build_table
from lenext.reporting.tensorboard import TensorBoardWriter
from lenext.runs import checkpoint, weights
from lenext.runs.folder import Run
from lenext.runs.results import class_metrics, split_metrics, write_predictions
from lenext.training.diagnosis import not_finite
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import events, sample_images, stopped_early
from lenext.training.notices import Samples, chance_notice
from lenext.training.passes import allowed_tta
from lenext.training.schedule import learning_rate_curve
from lenext.training.state import Record, Step, TrainingState
from lenext.workflows.fingerprint import MAY_CHANGE, combined, fingerprints, flat, parts_of
from lenext.workflows.job import Job
from lenext.workflows.machine import environment

TTA_VIEWS = {
    "none": "",
    "flip": ", mean of 2 views",
    "shift": ", mean of 3 views",
    "flip_and_shift": ", mean of 6 views",
}
MOST_CLASSES = 20  # shown in the table at the end
AFTER_WEIGHTS = 64 << 20  # bytes that images, predictions and the log may come to


class Session:
    """A job at work: it trains, and writes the run as it goes."""

    def __init__(
        self, job: Job, run: Run, console: Console, *, reads_test: bool = True,
        watch: Callable[[Record], None] | None = None,
    ) -> None:  # fmt: skip
        """reads_test: whether the test set is measured at the end; among many runs only the chosen one should.
        watch: called after each epoch."""
        self.job, self.run, self.console, self.reads_test, self.watch = job, run, console, reads_test, watch
        self.state = TrainingState.begin(job.network, job.recipe, partial(sample_images, job.data, job.prepare))
        self.parts = parts_of(job.network)
        self.usual = set(not_finite(job.network))  # a mask of a person's own network, perhaps
        self.before = 0.0  # seconds of training in earlier processes
        self.saved = self.begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training so far, in all processes that had a part in it."""
        return self.before + time.perf_counter() - self.begun

    def write_facts(self, data_dir: str | Path | None) -> None:
        """Write what is known before training. Raises RunError where the disk has no room for what will come."""
        job, splits = self.job, self.job.data.splits()
        self.check_space()
        place = {"data_dir": str(expand_path(data_dir).resolve())} if data_dir else {}
        self.run.write_json("environment.json", environment(job.compute) | place)
        kept = [*job.data.held_out, *(["train"] if job.recipe.train_samples != "all" else [])]
        self.run.write_json(
            "split.json",
            {
                "source": dict(job.data.source),
                "classes": list(job.data.classes),
                "method": job.recipe.split,
                "seed": job.recipe.split_seed,
                "samples": {part: len(split) for part, split in splits.items()},
                "taken_out_of_train": {part: splits[part].ids.tolist() for part in kept},
                "fingerprints": self.fingerprints,
            },
        )
        write_atomic(self.run.path / "recipe.yaml", job.experiment.to_yaml())  # last: with it the folder is a run
        if not job.experiment.network:
            self.save()  # only the caller knows how such a network begins

    def check_space(self) -> None:
        """Whether the disk has room for the checkpoints and the weights, estimated from the network's."""
        network = sum(one.nbytes for one in self.job.network.state_dict().values())
        averages = {"sgd": 1, "adamw": 2, "muon": 2}[self.job.recipe.optimizer] + bool(self.job.recipe.ema_decay)
        needed = (checkpoint.MAX_CHECKPOINTS + 1) * (1 + averages) * network + 3 * network + AFTER_WEIGHTS
        free = free_space(self.run.path)
        if free is not None and free < needed:
            raise RunError(
                f"{self.run.path}: a run of this network needs about {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB "
                "are free there; make room, or give another --runs-dir"
            )

    def train(self, stop: StopSignal) -> bool:
        """Train, writing records, checkpoints and the best weights as they come; whether it was stopped by a signal."""
        job, state = self.job, self.state
        keep_freed_memory_until_exit()  # of the whole process, and of whatever it does after this training
        every = 60 * job.recipe.checkpoint_minutes
        self.saved = self.begun = time.perf_counter()
        board = TensorBoardWriter(self.run.path / "tensorboard", self.console.print) if job.recipe.tensorboard else None
        with self.console.epoch_bar(job.epochs, job.samples) as bar:
            for event in self.events():
                if isinstance(event, Step):
                    bar.show_step(event)
                    last = event.position == event.batches - 1  # before validation, which a resume repeats
                    if event.phase == "train" and (last or 0 < every < time.perf_counter() - self.saved):
                        self.save()
                else:
                    best = event is state.best and event.val_accuracy is not None
                    if best:
                        weights.save(self.run.weights("best"), state.trained, job.description)
                        checkpoint.keep_best(self.run.weights("best"), self.run.checkpoints, event.epoch)
                    self.run.write_records(state.records)
                    bar.show_record(event, best)
                    if board:
                        board.write_record(event)
                    if self.watch:
                        self.watch(event)
                    if notice := self.notice():
                        self.console.print(f"note: {notice}")
                if stop:
                    if isinstance(event, Step) and event.phase == "train" and not last:
                        self.save()  # elsewhere the checkpoint of the epoch's end is there, and is gone on from
                    break
        if board:
            board.close()
        self.before, self.begun = self.seconds, time.perf_counter()
        if not stop and state.best and stopped_early(state, job.recipe):
            waited, best_epoch = state.epoch - state.best.epoch, state.best.epoch
            self.console.print(f"stopped early: {waited} epochs without a better validation than in epoch {best_epoch}")
        return bool(stop)

    def events(self) -> Iterator[Step | Record]:
        """The events of training; an error is in the log before it goes on its way."""
        try:
            yield from events(self.state, self.job.data, self.job.recipe, prepare=self.job.prepare)
        except TrainingError as error:
            there = checkpoint.list_checkpoints(self.run.checkpoints)
            told = TrainingError(f"{error}{f'; the last good checkpoint is {there[0]}' if there else ''}")
            self.console.log(f"stopped: {told}")
            if self.is_sound():
                weights.save(self.run.weights("last"), self.state.trained, self.job.description)
            raise told from error
        except LenextError as error:  # between two steps, as where an image cannot be read
            self.console.log(f"stopped: {error}")
            with suppress(LenextError):
                self.save()
            raise

    def save(self) -> None:
        """Write a checkpoint, but for weights that are not finite: these are about to be told of."""
        if not self.is_sound():
            return
        if self.parts != (now := parts_of(self.state.network)):
            changed = ", ".join(sorted(self.parts ^ now))
            raise TrainingError(f"the network's {changed} came or went while it trained; make them before, as buffers")
        tree = {"state": self.state.snapshot(), "made_by": self.made_by, "seconds": self.seconds}
        state = self.state
        checkpoint.save(self.run.checkpoints, tree, epoch=state.epoch, position=state.underway.position)
        self.saved = time.perf_counter()

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of each split; all pixels are read for it, once."""
        return fingerprints(self.job.data)

    def is_sound(self) -> bool:
        """Whether all numbers of the network are finite that were so at the beginning."""
        return set(not_finite(self.state.network)) <= self.usual

    @cached_property
    def made_by(self) -> dict[str, Any]:
        """What a checkpoint belongs to; where one of these has changed, it cannot be gone on from."""
        description = replace(self.job.description, network=self.job.description.network.rpartition(os.sep)[2])
        experiment = yaml.safe_load(self.job.experiment.to_yaml())
        return {"experiment": experiment, "network": description.to_json(), "samples": combined(self.fingerprints)}

    def go_on_from(self, saved: Mapping[str, Any]) -> None:
        """Become what a checkpoint holds. Raises RunError where the run or its data have changed since."""
        try:
            then, self.before = saved["made_by"], float(saved["seconds"])
            before = flat(then["experiment"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{self.run.checkpoints}: not a checkpoint of this version of lenext ({error!r})") from error
        now = self.made_by
        after = flat(now["experiment"])
        for settings in (before, after):  # a file of one's own may be elsewhere now
            settings["network"] = str(settings.get("network")).rpartition(os.sep)[2]
        for key in sorted((before.keys() | after.keys()) - MAY_CHANGE):
            if before.get(key) != after.get(key):
                raise RunError(
                    f"{self.run.path / 'recipe.yaml'}: {key} was {before.get(key)} when training stopped, now it is "
                    f"{after.get(key)}; put it back, or train anew"
                )
        for key, what in (("network", "the classes or the pixels' mean and deviation"), ("samples", "the samples")):
            if then.get(key) != now[key]:
                raise RunError(f"{self.job.data.name}: {what} have changed since training stopped; restore the data")
        self.state.restore(saved.get("state", {}))
        if self.state.best and self.job.data.validation is not None:
            best = checkpoint.best_weights_path(self.run.checkpoints, self.state.best.epoch)
            weights.load(best)  # whole, as they are needed at the end
            write_atomic(self.run.weights("best"), best.read_bytes())

    def notice(self) -> str:
        """What the records so far give reason to say."""
        job = self.job
        counts = job.data.train.labels.bincount()
        normed = any("Norm" in type(module).__name__ for module in job.network.modules())
        held = len(job.data.validation) if job.data.validation else 0
        samples = Samples(len(job.data.classes), float(counts.max() / counts.sum()), job.samples, held)
        return chance_notice(self.state.records, samples, job.recipe, job.batches, normed)

    def carry_out(self, stop: StopSignal) -> None:
        """Train, then measure; raises StoppedError where a signal ended it."""
        stopped = self.train(stop)
        weights.save(self.run.weights("last"), self.state.trained, self.job.description)
        records, best = self.state.records, self.state.best
        if records:
            rates = learning_rate_curve(self.job.recipe, self.job.batches, records)
            write_training_curves(self.run, records, self.job.title, best.epoch if best else None, rates)
        if not stopped:
            stop.at_once = True  # what comes now is done again by a resume
            if not stop:
                self.finish()
                return
        said = f"stopped after {len(records)} of {self.job.epochs} epochs"
        self.console.print(f"\n{said}; `lenext resume {shlex.quote(str(self.run.path))}` goes on")
        raise StoppedError(stop.number)

    def finish(self) -> None:
        """Read the test set once, with the best weights, and write what came of it all."""
        job, run, best, records = self.job, self.run, self.state.best, self.state.records
        if job.data.validation is None:
            weights.save(run.weights("best"), self.state.trained, job.description)
        results: dict[str, Any] = {
            "epochs": len(records),
            "steps": job.recipe.steps,
            "stopped_early": stopped_early(self.state, job.recipe),
            "best_epoch": best.epoch if best else None,
            "weights": self.chosen_by(),
            "training_seconds": self.before,
            "train_accuracy_is": "running mean, in training mode",
            "validation": {"accuracy": best.val_accuracy, "loss": best.val_loss} if best else None,
        }
        if job.data.test is not None and self.reads_test:
            results |= self.measure_test(job.data.test)
        run.write_json("results.json", results)
        figures = ", ".join(sorted(path.name for path in run.path.glob("*.png")))
        self.console.print(f"figures: {figures} in {run.path}")

    def chosen_by(self) -> str:
        """What the best weights are the best of."""
        if self.job.recipe.select_on_test:
            return "best on the test set, as published: its figures flatter"
        return "best on validation" if self.job.data.validation else "last"

    def measure_test(self, test: Split) -> dict[str, Any]:
        """Read the test set with the best weights; write predictions and images, tell the figures and return them."""
        job, run, best = self.job, self.run, self.state.best
        reads = run.test_reads + 1  # a run that was given more epochs has read it before
        reads += len(self.state.records) if job.recipe.select_on_test else 0
        tensors, description = weights.load(run.weights("best"))
        weights.restore_network(tensors, description, run.weights("best"), job.network)
        begun, views = time.perf_counter(), allowed_tta(job.data, job.recipe)
        seen = evaluate_split(job.network, test, job.prepare, job.compute, views)
        taken = time.perf_counter() - begun
        by_class = class_metrics(seen, job.data.classes)
        write_predictions(run, seen, test, job.data.classes)
        write_test_figures(run, seen, test, job.data.classes, job.title)
        used = f"best weights, epoch {best.epoch}" if best and job.data.validation else "last weights"
        self.console.print()
        print_class_table(self.console, by_class, "test images by class")
        self.console.print(
            f"\ntest accuracy {seen.accuracy:.2%}, loss {seen.loss:.4f} on {len(seen.labels):,} images "
            f"({used}{TTA_VIEWS[views]}); {format_duration(self.before)} of training"
        )
        return {
            "test": split_metrics(seen, job.data.classes),
            "classes": by_class,
            "test_reads": reads,
            "test_seconds": taken,
        }


def print_class_table(console: Console, figures: list[dict[str, Any]], title: str) -> None:
    """The table by class; of many classes the worst."""
    if len(figures) > MOST_CLASSES:
        figures = sorted(figures, key=lambda row: float(row["f1"]))[:MOST_CLASSES]
        title += f", the {MOST_CLASSES} worst"
    numbers = ("precision", "recall", "f1")
    rows = [[row["class"], str(row["images"]), *(f"{row[key]:.3f}" for key in numbers)] for row in figures]
    columns = {"class": "left", "images": "right", "precision": "right", "recall": "right", "F1": "right"}
    console.print(build_table(title, columns, rows))
