"""Records for TensorBoard, where it is installed. A failure is printed once and does not stop training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from lenext.training.metrics import Record

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")


class TensorBoardWriter:
    """A writer into a folder that `tensorboard --logdir` reads.

    Args:
        folder: The folder.
        report: Called with the message of a failure, after which nothing more is written.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.report, self.writer = report, cast(Any, None)
        self.attempt(lambda: self.open(folder))

    def open(self, folder: Path) -> None:
        """Open the writer of torch."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def write_record(self, record: Record) -> None:
        """Write the metrics of an epoch."""
        if self.writer:
            self.attempt(lambda: self.write_metrics(record))

    def write_metrics(self, record: Record) -> None:
        """Write each metric that was measured."""
        for name in METRICS:
            value = getattr(record, name)
            if value is not None:
                self.writer.add_scalar(name, value, record.epoch)
        self.writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self.writer:
            self.attempt(self.writer.close)

    def attempt(self, action: Callable[[], Any]) -> None:
        """Call a function; on its first failure, report it and stop writing."""
        try:
            action()
        except Exception as error:  # another program's files are no reason to stop training
            self.writer = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            install = "`pip install 'lenext[tensorboard]'` installs it"
            self.report(f"note: nothing is written for TensorBoard ({reason}); {install}")
