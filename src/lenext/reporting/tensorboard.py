"""Records for TensorBoard, for those who have it; whatever goes wrong there is told once, and training goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from lenext.training.state import Record

SHOWN = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")


class Board:
    """Writes into a folder that `tensorboard --logdir` reads."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.say, self.writer = say, cast(Any, None)
        self.attempt(lambda: self.open(folder))

    def open(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def record(self, record: Record) -> None:
        """An epoch's figures."""
        if self.writer:
            self.attempt(lambda: self.write(record))

    def write(self, record: Record) -> None:
        for name in SHOWN:
            value = getattr(record, name)
            if value is not None:
                self.writer.add_scalar(name, value, record.epoch)
        self.writer.flush()

    def close(self) -> None:
        if self.writer:
            self.attempt(self.writer.close)

    def attempt(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # another program's files are no reason to stop training
            self.writer = None
            what = " ".join(f"{type(error).__name__}: {error}".split())
            self.say(
                f"note: nothing is written for TensorBoard ({what}); `pip install 'lenext[tensorboard]'` brings it"
            )
