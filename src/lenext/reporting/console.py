"""What a person reads while a network trains: a live bar on a terminal, plain lines elsewhere, all lines in a log."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from lenext.foundation.files import make_write_error
from lenext.foundation.streams import printable
from lenext.foundation.terminal import SafeConsole
from lenext.reporting.braille import chart
from lenext.training.state import Record, Step

REFRESH = 0.2  # seconds between looks at the device
HIGH = 7  # lines of a curve
LINES = (("train", "bright_black"), ("val", "bold cyan"))
SAY = 30.0  # seconds between lines within an epoch where there is no terminal


class Console:
    """Prints lines and tables, and keeps what was printed in a run's log."""

    def __init__(self, quiet: bool = False, lines: bool = True) -> None:
        """lines: whether lines are printed; without them there is the live bar alone, on a terminal."""
        self.terminal = SafeConsole(quiet=quiet, soft_wrap=True)
        if not self.terminal.is_terminal:
            self.terminal.width = 160  # for tables
        self.lines = lines
        self.log_file: IO[str] | None = None
        self.pending: list[str] = []

    def write_log(self, path: Path) -> None:
        """From now on into this file, with what was said before."""
        try:
            self.log_file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise make_write_error(path, error) from error
        pending, self.pending = self.pending, []
        self.write("".join(pending))

    def __enter__(self) -> "Console":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.log_file:
            with suppress(OSError):
                self.log_file.close()

    def print(self, what: Any = "", style: str = "") -> None:
        """A line or a table."""
        try:
            if self.lines:
                self.terminal.print(what, style=style or None, markup=False)
        except OSError:  # the terminal or the pipe has gone; that is no reason to stop training
            self.terminal.quiet = True
        recorder = SafeConsole(width=100, file=(sink := io.StringIO()), soft_wrap=True)
        recorder.print(what, markup=False)
        self.write(sink.getvalue())

    def log(self, line: str) -> None:
        """A line for the log alone."""
        self.write(printable(line) + "\n")

    def write(self, text: str) -> None:
        """Into the log; where that is not possible any more, there is none from now on."""
        if not self.log_file:
            self.pending.append(text)
            return
        try:
            self.log_file.write(text)
        except OSError as error:
            self.log_file = None
            self.print(f"note: the log cannot be written any more ({error.strerror or error})")

    def facts(self, pairs: dict[str, str]) -> None:
        """Names and what they are, aligned."""
        wide = max(map(len, pairs)) + 2
        for name, value in pairs.items():
            self.print(f"{name:<{wide}}{value}")

    @contextmanager
    def epochs(self, total: int, samples: int) -> Iterator["EpochBar"]:
        """The bar of a training of `total` epochs of `samples` images."""
        bar = EpochBar(self, total, samples)
        try:
            yield bar
        finally:
            bar.close()


def open_console(quiet: bool | Console) -> Console:
    """The one that is given, or a new one."""
    return quiet if isinstance(quiet, Console) else Console(quiet)


class EpochBar:
    """Shows steps as they come; reads tensors only when it is due, so that nothing waits for the device."""

    def __init__(self, console: Console, total: int, samples: int) -> None:
        self.console, self.total, self.samples = console, total, samples
        self.live = console.terminal.is_terminal and not console.terminal.quiet
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[total_epochs]}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=console.terminal,
        )
        self.board = Live(console=console.terminal, transient=True, auto_refresh=False)
        self.task: TaskID | None = None
        self.records: list[Record] = []
        self.seen = 0
        self.epoch = 0
        self.begun = self.shown = self.said = time.perf_counter()

    def step(self, step: Step) -> None:
        """Take in an update or a batch of validation."""
        now = time.perf_counter()
        if step.epoch != self.epoch:
            self.epoch, self.seen, self.begun, self.said = step.epoch, 0, now, now
        self.seen += step.samples if step.phase == "train" else 0
        if now - self.shown < REFRESH:
            return
        self.shown = now
        rate = self.seen / max(now - self.begun, 1e-9)
        words = f"loss {float(step.loss):.3f}  acc {int(step.correct) / step.samples:6.1%}  {rate:,.0f} images/s"
        if step.phase == "validation":
            words = f"validating, {step.position + 1}/{step.batches}"
        if self.live:
            self.draw(words)
        elif now - self.said > SAY:
            self.said = now
            self.console.print(f"epoch {step.epoch}/{self.total}  step {step.position + 1}/{step.batches}  {words}")

    def draw(self, words: str) -> None:
        done = (self.epoch - 1) * self.samples + self.seen
        if self.task is None:
            fields: dict[str, Any] = {"epoch": self.epoch, "total_epochs": self.total, "words": words}
            self.task = self.progress.add_task("", total=self.total * self.samples, **fields)
            self.board.start()
        left = self.progress.tasks[0].time_remaining
        end = f"  until {time.strftime('%H:%M', time.localtime(time.time() + left))}" if left else ""
        self.progress.update(self.task, completed=done, epoch=self.epoch, words=f"{words}{end}")
        self.board.update(self.curves(), refresh=True)

    def curves(self) -> RenderableType:
        """The bar, and from the second epoch on loss and accuracy above it, where the terminal has room for them."""
        wide, high = self.progress.console.size
        if len(self.records) < 2 or wide < 60 or high < HIGH + 6:
            return self.progress
        each = min((wide - 20) // 2, 44)
        table = Table.grid(padding=(0, 2))
        table.add_row(*(
            chart(title, [([getattr(one, f"{part}_{what}") for one in self.records], style) for part, style in LINES],
                  each, HIGH, percent=what == "accuracy")
            for title, what in (("loss", "loss"), ("accuracy: training dim, validation bright", "accuracy"))
        ))  # fmt: skip
        return Group(table, self.progress)

    def record(self, record: Record, best: bool) -> None:
        """The line of an epoch."""
        validation = ""
        if record.val_accuracy is not None and record.val_loss is not None:
            validation = f"   val loss {record.val_loss:.4f}  acc {record.val_accuracy:7.2%}"
        again = ""
        if record.evaluated_train_accuracy is not None:
            again = f"   train measured again {record.evaluated_train_accuracy:7.2%}"
        again += f"   {record.skipped_updates} updates skipped" if record.skipped_updates else ""
        self.records.append(record)
        width = len(str(self.total))
        self.console.print(
            f"epoch {record.epoch:>{width}}/{self.total}   train loss {record.train_loss:.4f}  acc "
            f"{record.train_accuracy:7.2%}{again}{validation}   {format_duration(record.seconds)}"
            f"{'   best' if best else ''}"
        )

    def close(self) -> None:
        if self.task is not None:
            with suppress(Exception):
                self.board.stop()


def format_duration(value: float) -> str:
    """A duration as a person says it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if round(value, 1) < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
