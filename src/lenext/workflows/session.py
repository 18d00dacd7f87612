"""A session: a job at work in its run's folder, from where it is to the end, or to where it is stopped."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lenext.acceleration.memory import keep_freed_memory_until_exit
from lenext.foundation.errors import LenextError, RunError, TrainingError
from lenext.foundation.files import expand_path, free_space, write_atomic
from lenext.foundation.group import Group
from lenext.foundation.signals import StoppedError, StopSignal
from lenext.reporting.console import Console
from lenext.reporting.result_figures import write_training_curves
from lenext.reporting.tensorboard import TensorBoardWriter
from lenext.reporting.training_display import epoch_bar
from lenext.runs import checkpoint, weights
from lenext.runs.folder import Run
from lenext.training.diagnosis import not_finite
from lenext.training.loop import events, sample_images, stopped_early
from lenext.training.metrics import Record
from lenext.training.notices import Samples, chance_notice
from lenext.training.schedule import learning_rate_curve
from lenext.training.state import Step, TrainingState
from lenext.workflows.fingerprint import (
    check_same_training,
    combine_fingerprints,
    parts_of,
    training_identity,
)
from lenext.workflows.job import Job
from lenext.workflows.machine import environment
from lenext.workflows.processes import beating, note_beginning, share_state
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
        group: Group | None = None,
    ) -> None:
        """Place the network on its device.

        Args:
            job: What is trained.
            run: Its folder.
            console: Where progress is printed.
            reads_test: Whether the test set is measured at the end; of many runs only the chosen one should.
            watch: Called after each epoch.
            group: The processes that train together; this one alone by default. It is their first.
        """
        self.job, self.run, self.console, self.reads_test, self.watch = job, run, console, reads_test, watch
        self.group = group or Group()
        self.state = TrainingState.begin(
            job.network, job.settings, partial(sample_images, job.data, job.settings.images)
        )
        self.parts = parts_of(job.network)
        self.exempt = set(not_finite(job.network))  # a mask of the user's own network, perhaps
        self.seconds_before = 0.0  # of training in earlier processes
        self.saved = self.begun = time.perf_counter()
        self.board: TensorBoardWriter | None = None
        if job.recipe.tensorboard:
            self.board = TensorBoardWriter(run.path / "tensorboard", console.print)

    @property
    def seconds(self) -> float:
        """The seconds of training so far, in all processes."""
        return self.seconds_before + time.perf_counter() - self.begun

    def write_facts(self, data_dir: str | Path | None) -> None:
        """Write what is known before training. Raises RunError when the disk has no room for the run."""
        job, splits = self.job, self.job.data.splits()
        self.check_space()
        data_folder = {"data_dir": str(expand_path(data_dir).resolve())} if data_dir else {}
        launch = {"launch": self.group.launch} if self.group.launch else {}
        self.run.write_json("environment.json", environment(job.compute) | data_folder | launch)
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
                "fingerprints": self.job.fingerprints,
            },
        )
        if job.experiment.corrections:
            write_atomic(self.run.corrections, expand_path(job.experiment.corrections).read_bytes())
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

    def train(self, stop: StopSignal) -> None:
        """Train to the end, then measure; write records, checkpoints, weights and results.

        Raises:
            StoppedError: A signal stopped training; a checkpoint is saved.
        """
        self.group.stop = stop
        share_state(self.group, self.state)
        with beating(self.group):
            self.train_epochs()
            self.end(stop)

    def train_epochs(self) -> None:
        """Train to the end, or until all processes agree to stop; write records, checkpoints and weights."""
        schedule, sampling = self.job.settings.schedule, self.job.settings.sampling
        keep_freed_memory_until_exit()
        self.saved = self.begun = time.perf_counter()
        with epoch_bar(self.console, schedule.length.epochs, sampling.samples) as bar:
            for event in self.events():
                if isinstance(event, Step):
                    bar.show_step(event)
                    if event.phase == "train":
                        note_beginning()
                    is_stopped = self.group.is_stopped
                    self.after_step(event, is_stopped)
                else:
                    is_best = event is self.state.best and event.val_accuracy is not None
                    bar.show_record(event, is_best)
                    self.after_epoch(event, is_best)
                    is_stopped = self.group.is_stopped
                if is_stopped:
                    break
        self.seconds_before, self.begun = self.seconds, time.perf_counter()
        self.write_end()

    def end(self, stop: StopSignal) -> None:
        """Measure the test set and write the results, or say how to continue a stopped training."""
        is_stopped = self.group.is_stopped or any(self.group.gather(bool(stop)))
        if not is_stopped:
            stop.at_once = True  # a resume repeats what comes now
        if is_stopped or stop:
            epochs = f"{len(self.state.records)} of {self.job.settings.schedule.length.epochs} epochs"
            self.console.print(f"\nstopped after {epochs}; `lenext resume {shlex.quote(str(self.run.path))}` continues")
            raise StoppedError(stop.number or signal.SIGTERM)  # another process may have been asked
        finish_run(self.job, self.run, self.console, self.state, self.seconds_before, self.reads_test, self.group)

    def after_step(self, step: Step, is_stopped: bool) -> None:
        """Save a checkpoint at the end of an epoch, when one is due, and before stopping."""
        save_seconds = 60 * self.job.recipe.checkpoint_minutes
        is_due = 0 < save_seconds < time.perf_counter() - self.saved
        if step.phase == "train" and (step.is_last or is_due or is_stopped):  # a resume repeats validation
            self.save()

    def after_epoch(self, record: Record, is_best: bool) -> None:
        """Write the records and the weights of the best epoch, call the watcher, and print what is to be noted."""
        if is_best:
            weights.save(self.run.weights("best"), self.state.trained, self.job.description)
            checkpoint.keep_best(self.run.weights("best"), self.run.checkpoints, record.epoch)
        self.run.write_records(self.state.records)
        if self.board:
            self.board.write_record(record)
        if self.watch:
            self.watch(record)
        if notice := self.notice():
            self.console.print(f"note: {notice}")

    def notice(self) -> str:
        """Return what to do about a network that does not learn; empty when it does."""
        job = self.job
        counts = job.data.train.labels.bincount()
        has_norms = any("Norm" in type(module).__name__ for module in job.network.modules())
        validation = len(job.data.validation) if job.data.validation else 0
        largest_share = float(counts.max() / counts.sum())
        samples = Samples(len(job.data.classes), largest_share, job.settings.sampling.samples, validation)
        return chance_notice(self.state.records, samples, job.recipe, job.settings.sampling.batches, has_norms)

    def write_end(self) -> None:
        """Write the last weights and the curves, and print why training ended early."""
        state, schedule = self.state, self.job.settings.schedule
        if self.board:
            self.board.close()
        weights.save(self.run.weights("last"), state.trained, self.job.description)
        if not state.records:
            return
        rates = learning_rate_curve(schedule, state.records)
        best_epoch = state.best.epoch if state.best else None
        write_training_curves(self.run, state.records, self.job.title, best_epoch, rates)
        if best_epoch is not None and stopped_early(state, schedule):
            epochs = state.epoch - best_epoch
            self.console.print(f"stopped early: {epochs} epochs without a better validation than in epoch {best_epoch}")

    def events(self) -> Iterator[Step | Record]:
        """Yield the events of training; an error is in the log before it is raised."""
        try:
            yield from events(self.state, self.job.data, self.job.settings, group=self.group)
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
    def identity(self) -> dict[str, Any]:
        """The identity of the training, which its checkpoints hold."""
        return training_identity(self.job.experiment, self.job.description, combine_fingerprints(self.job.fingerprints))

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
