"""The progress of a training: a live bar with curves on a terminal, plain lines elsewhere."""

import time
from contextlib import suppress
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from lenext.reporting.braille import draw_chart
from lenext.reporting.console import Console, format_duration
from lenext.training.metrics import Record, Records
from lenext.training.state import Step

REFRESH_SECONDS = 0.2  # between updates of the bar; each waits for the device
LINE_SECONDS = 30.0  # between lines within an epoch where there is no terminal
CHART_LINES = 7  # lines of a chart above the bar
MAX_CHART_CHARACTERS = 44
MIN_TERMINAL_CHARACTERS = 60  # of a terminal with charts
SERIES_STYLES = (("train", "bright_black"), ("val", "bold cyan"))


class EpochBar:
    """The progress of a training. It reads tensors only when an update is due, so that nothing waits for the device."""

    refresh_seconds = REFRESH_SECONDS

    def __init__(self, console: Console, epochs: int, samples: int) -> None:
        self.console, self.epochs, self.samples = console, epochs, samples
        self.is_live = console.terminal.is_terminal and not console.terminal.quiet
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[total_epochs]}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console.terminal,
        )
        self.display = Live(console=console.terminal, transient=True, auto_refresh=False)
        self.task: TaskID | None = None
        self.records = Records()
        self.best_epoch: int | None = None
        self.epoch_samples = 0  # trained so far in the current epoch
        self.epoch = 0
        self.epoch_start = self.last_update = self.last_line = time.perf_counter()

    def show_step(self, step: Step) -> None:
        """Show an update of the weights, or a batch of validation."""
        now = time.perf_counter()
        if step.epoch != self.epoch:
            self.epoch, self.epoch_samples, self.epoch_start, self.last_line = step.epoch, 0, now, now
        self.epoch_samples += step.samples if step.phase == "train" else 0
        if step.phase == "features":
            self.epoch_start = now  # the rate is that of training
        if now - self.last_update < self.refresh_seconds:
            return
        self.last_update = now
        rate = self.epoch_samples / max(now - self.epoch_start, 1e-9)
        status = f"loss {float(step.loss):.3f}  acc {int(step.correct) / step.samples:6.1%}  {rate:,.0f} images/s"
        if step.phase == "validation":
            status = f"validating, {step.position + 1}/{step.batches}"
        if step.phase == "features":
            status = f"computing the features of frozen layers, {step.position + 1}/{step.batches}"
        if self.is_live:
            self.update_bar(status)
        elif now - self.last_line > LINE_SECONDS:
            self.last_line = now
            position = f"epoch {step.epoch}/{self.epochs}  step {step.position + 1}/{step.batches}"
            self.console.print(f"{position}  {status}")

    def update_bar(self, status: str) -> None:
        """Draw the bar with a status behind it."""
        completed = (self.epoch - 1) * self.samples + self.epoch_samples
        if self.task is None:
            fields: dict[str, Any] = {"epoch": self.epoch, "total_epochs": self.epochs, "status": status}
            self.task = self.progress.add_task("", total=self.epochs * self.samples, **fields)
            self.display.start()
        remaining = self.progress.tasks[0].time_remaining
        end = f"  until {time.strftime('%H:%M', time.localtime(time.time() + remaining))}" if remaining else ""
        self.progress.update(self.task, completed=completed, epoch=self.epoch, status=f"{status}{end}")
        self.display.update(self.bar_and_charts(), refresh=True)

    def bar_and_charts(self) -> RenderableType:
        """Return the bar; from the second epoch on, where there is room, with charts of loss and accuracy above it."""
        width, height = self.progress.console.size
        if len(self.records) < 2 or width < MIN_TERMINAL_CHARACTERS or height < CHART_LINES + 6:
            return self.progress
        chart_width = min((width - 20) // 2, MAX_CHART_CHARACTERS)
        table = Table.grid(padding=(0, 2))
        titles = {"loss": "loss", "accuracy": "accuracy: training dim, validation bright"}
        charts = [
            draw_chart(
                title,
                [
                    ([getattr(each, f"{part}_{metric}") for each in self.records], style)
                    for part, style in SERIES_STYLES
                ],
                chart_width,
                CHART_LINES,
                percent=metric == "accuracy",
            )
            for metric, title in titles.items()
        ]
        table.add_row(*charts)
        return Group(table, self.progress)

    def show_record(self, record: Record, is_best: bool) -> None:
        """Show the metrics of an epoch."""
        validation = ""
        if record.val_accuracy is not None and record.val_loss is not None:
            validation = f"   val loss {record.val_loss:.4f}  acc {record.val_accuracy:7.2%}"
        extra = ""
        if record.evaluated_train_accuracy is not None:
            extra = f"   train measured again {record.evaluated_train_accuracy:7.2%}"
        extra += f"   {record.skipped_updates} updates skipped" if record.skipped_updates else ""
        self.records.append(record)
        self.best_epoch = record.epoch if is_best else self.best_epoch
        width = len(str(self.epochs))
        self.print_record(
            f"epoch {record.epoch:>{width}}/{self.epochs}   train loss {record.train_loss:.4f}  acc "
            f"{record.train_accuracy:7.2%}{extra}{validation}   {format_duration(record.seconds)}"
            f"{'   best' if is_best else ''}"
        )

    def print_record(self, line: str) -> None:
        """Print the line of an epoch."""
        self.console.print(line)

    def close(self) -> None:
        """Remove the bar."""
        if self.task is not None:
            with suppress(Exception):
                self.display.stop()
