"""A session: a job at work in its run's folder, from where it is to the end, or to where it is stopped."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lenext.acceleration.memory import keep_freed_memory_until_exit
from lenext.foundation.errors import LenextError, RunError, TrainingError
from lenext.foundation.files import expand_path, free_space, write_atomic
from lenext.foundation.signals import StoppedError, StopSignal
from lenext.reporting.console import Console
from lenext.reporting.result_figures import write_training_curves
from lenext.reporting.tensorboard import TensorBoardWriter
from lenext.runs import checkpoint, weights
from lenext.runs.folder import Run
from lenext.training.diagnosis import not_finite
from lenext.training.loop import events, sample_images, stopped_early
from lenext.training.metrics import Record
from lenext.training.notices import Samples, chance_notice
from lenext.training.schedule import learning_rate_curve
from lenext.training.state import Step, TrainingState
from lenext.workflows.fingerprint import check_same_training, combined, fingerprints, parts_of, training_identity
from lenext.workflows.job import Job
from lenext.workflows.machine import environment
from lenext.workflows.results import finish_run

OTHER_FILES_BYTES = 64 << 20  # figures, predictions and the log, at the most
OPTIMIZER_COPIES = {"sgd": 1, "adamw": 2, "muon": 2}  # of the weights


class Session:
    """A job at work: it trains, and writes the run as it goes."""

    def __init__(
        self,
        job: Job,
        run: Run,
        console: Console,
        *,
        reads_test: bool = True,
        watch: Callable[[Record], None] | None = None,
    ) -> None:
        """Place the network on its device.

        Args:
            job: What is trained.
            run: Its folder.
            console: Where progress is printed.
            reads_test: Whether the test set is measured at the end; of many runs only the chosen one should.
            watch: Called after each epoch.
        """
        self.job, self.run, self.console, self.reads_test, self.watch = job, run, console, reads_test, watch
        self.state = TrainingState.begin(
            job.network, job.settings, partial(sample_images, job.data, job.settings.images)
        )
        self.parts = parts_of(job.network)
        self.exempt = set(not_finite(job.network))  # a mask of the user's own network, perhaps
        self.seconds_before = 0.0  # of training in earlier processes
        self.saved = self.begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds of training so far, in all processes."""
        return self.seconds_before + time.perf_counter() - self.begun

    def write_facts(self, data_dir: str | Path | None) -> None:
        """Write what is known before training. Raises RunError when the disk has no room for the run."""
        job, splits = self.job, self.job.data.splits()
        self.check_space()
        data_folder = {"data_dir": str(expand_path(data_dir).resolve())} if data_dir else {}
        self.run.write_json("environment.json", environment(job.compute) | data_folder)
        listed = [*job.data.held_out, *(["train"] if job.recipe.train_samples != "all" else [])]
        self.run.write_json(
            "split.json",
            {
                "source": dict(job.data.source),
                "classes": list(job.data.classes),
                "method": job.recipe.split,
                "seed": job.recipe.split_seed,
                "samples": {name: len(split) for name, split in splits.items()},
                "taken_out_of_train": {name: splits[name].ids.tolist() for name in listed},
                "fingerprints": self.fingerprints,
            },
        )
        write_atomic(self.run.path / "recipe.yaml", job.experiment.to_yaml())  # last: with it the folder is a run
        if not job.experiment.network:
            self.save()  # only the caller knows how such a network begins

    def check_space(self) -> None:
        """Check that the disk has room for the checkpoints and the weights, estimated from the network's size."""
        network = sum(tensor.nbytes for tensor in self.job.network.state_dict().values())
        copies = 1 + OPTIMIZER_COPIES[self.job.recipe.optimizer] + bool(self.job.recipe.ema_decay)
        needed = (checkpoint.MAX_CHECKPOINTS + 1) * copies * network + 3 * network + OTHER_FILES_BYTES
        free = free_space(self.run.path)
        if free is not None and free < needed:
            raise RunError(
                f"{self.run.path}: a run of this network needs about {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB "
                "are free there; make room, or give another --runs-dir"
            )

    def carry_out(self, stop: StopSignal) -> None:
        """Train, then measure. Raises StoppedError when a signal ended training."""
        stopped = self.train(stop)
        weights.save(self.run.weights("last"), self.state.trained, self.job.description)
        records, best = self.state.records, self.state.best
        if records:
            rates = learning_rate_curve(self.job.settings.schedule, records)
            write_training_curves(self.run, records, self.job.title, best.epoch if best else None, rates)
        if not stopped:
            stop.at_once = True  # a resume repeats what comes now
            if not stop:
                finish_run(self.job, self.run, self.console, self.state, self.seconds_before, self.reads_test)
                return
        epochs = f"{len(records)} of {self.job.settings.schedule.length.epochs} epochs"
        self.console.print(f"\nstopped after {epochs}; `lenext resume {shlex.quote(str(self.run.path))}` continues")
        raise StoppedError(stop.number)

    def train(self, stop: StopSignal) -> bool:
        """Train, and write records, checkpoints and the best weights; return whether a signal stopped it."""
        job, state, settings = self.job, self.state, self.job.settings
        keep_freed_memory_until_exit()
        save_seconds = 60 * job.recipe.checkpoint_minutes
        self.saved = self.begun = time.perf_counter()
        board = TensorBoardWriter(self.run.path / "tensorboard", self.console.print) if job.recipe.tensorboard else None
        with self.console.epoch_bar(settings.schedule.length.epochs, settings.sampling.samples) as bar:
            for event in self.events():
                if isinstance(event, Step):
                    bar.show_step(event)
                    is_due = 0 < save_seconds < time.perf_counter() - self.saved
                    if event.phase == "train" and (
                        event.is_last or is_due
                    ):  # before validation, which a resume repeats
                        self.save()
                else:
                    is_best = event is state.best and event.val_accuracy is not None
                    self.write_epoch(event, is_best)
                    bar.show_record(event, is_best)
                    if board:
                        board.write_record(event)
                    self.after_epoch(event)
                if stop:
                    if isinstance(event, Step) and event.phase == "train" and not event.is_last:
                        self.save()  # elsewhere there is the checkpoint of the epoch's end
                    break
        if board:
            board.close()
        self.seconds_before, self.begun = self.seconds, time.perf_counter()
        if not stop and state.best and stopped_early(state, settings.schedule):
            epochs, best = state.epoch - state.best.epoch, state.best.epoch
            self.console.print(f"stopped early: {epochs} epochs without a better validation than in epoch {best}")
        return bool(stop)

    def write_epoch(self, record: Record, is_best: bool) -> None:
        """Write the records, and the weights of the best epoch."""
        if is_best:
            weights.save(self.run.weights("best"), self.state.trained, self.job.description)
            checkpoint.keep_best(self.run.weights("best"), self.run.checkpoints, record.epoch)
        self.run.write_records(self.state.records)

    def after_epoch(self, record: Record) -> None:
        """Call the watcher, and print what the records give reason to note."""
        if self.watch:
            self.watch(record)
        job = self.job
        counts = job.data.train.labels.bincount()
        has_norms = any("Norm" in type(module).__name__ for module in job.network.modules())
        validation = len(job.data.validation) if job.data.validation else 0
        largest_share = float(counts.max() / counts.sum())
        samples = Samples(len(job.data.classes), largest_share, job.settings.sampling.samples, validation)
        if notice := chance_notice(self.state.records, samples, job.recipe, job.settings.sampling.batches, has_norms):
            self.console.print(f"note: {notice}")

    def events(self) -> Iterator[Step | Record]:
        """Yield the events of training; an error is in the log before it is raised."""
        try:
            yield from events(self.state, self.job.data, self.job.settings)
        except TrainingError as error:
            checkpoints = checkpoint.list_checkpoints(self.run.checkpoints)
            last_good = f"; the last good checkpoint is {checkpoints[0]}" if checkpoints else ""
            complete = TrainingError(f"{error}{last_good}")
            self.console.log(f"stopped: {complete}")
            if self.is_finite():
                weights.save(self.run.weights("last"), self.state.trained, self.job.description)
            raise complete from error
        except LenextError as error:  # between two steps, as when an image cannot be read
            self.console.log(f"stopped: {error}")
            with suppress(LenextError):
                self.save()
            raise

    def save(self) -> None:
        """Write a checkpoint, unless the weights are not finite: training is about to report them."""
        if not self.is_finite():
            return
        if changed := self.parts ^ parts_of(self.state.network):
            names = ", ".join(sorted(changed))
            raise TrainingError(f"the network's {names} came or went while it trained; make them before, as buffers")
        state = self.state
        tree = {"state": state.snapshot(), "made_by": self.identity, "seconds": self.seconds}
        checkpoint.save(self.run.checkpoints, tree, epoch=state.epoch, position=state.progress.position)
        self.saved = time.perf_counter()

    def is_finite(self) -> bool:
        """Return whether all numbers of the network are finite, except those that never were."""
        return set(not_finite(self.state.network)) <= self.exempt

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each split; all pixels are read for it, once."""
        return fingerprints(self.job.data)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to."""
        return training_identity(self.job.experiment, self.job.description, combined(self.fingerprints))

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from a checkpoint. Raises RunError when the run or its data have changed since."""
        try:
            identity, seconds = saved["made_by"], float(saved["seconds"])
        except (LookupError, TypeError, ValueError) as error:
            raise RunError(f"{self.run.checkpoints}: not a checkpoint of this version of lenext ({error!r})") from error
        check_same_training(self.run, identity, self.identity, self.job.data.name)
        self.seconds_before = seconds
        self.state.restore(saved.get("state", {}))
        if self.state.best and self.job.data.validation is not None:
            best = checkpoint.best_weights_path(self.run.checkpoints, self.state.best.epoch)
            weights.load(best)  # all of it, as the end needs it
            write_atomic(self.run.weights("best"), best.read_bytes())
