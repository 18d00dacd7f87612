"""Faults to inject into a process before it runs: kills, full disks, numbers that are not finite, slow phases."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lenext.acceleration import compilation
from lenext.data import folder, image_files
from lenext.foundation import files
from lenext.runs import checkpoint, weights
from lenext.training import evaluation, loop, trainer
from lenext.workflows import plan_text, results, session


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_save(count: int) -> None:
    """Die after the given number of checkpoints is written."""
    real, left = checkpoint.save, [count]

    def save(*arguments: Any, **more: Any) -> Path:
        path = real(*arguments, **more)
        left[0] -= 1
        if not left[0]:
            die()
        return path

    checkpoint.save = save


def die_in_save(number: int, step: int) -> None:
    """Die in the `number`th save, before its `step`th call that changes the disk, or halfway through writing."""
    real, saves, steps = checkpoint.save, [0], [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **more: Any) -> Any:
            if saves[0] == number:
                steps[0] += 1
                if steps[0] == step:
                    die()
            return call(*arguments, **more)

        return instead

    def save(*arguments: Any, **more: Any) -> Path:
        saves[0] += 1
        path = real(*arguments, **more)
        if saves[0] == number:
            Path("steps").write_text(str(steps[0]))
            saves[0] += 1
        return path

    class Half:
        """A file that is half written when the process dies."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> "Half":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def writelines(self, pieces: list[bytes]) -> None:
            content = b"".join(pieces)
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            counted(self.file.write)(content[len(content) // 2 :])

    opened = Path.open

    def open_path(self: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        file = opened(self, mode, *arguments, **more)
        return Half(file) if mode == "wb" and "checkpoints" in str(self) else file

    checkpoint.save = save
    Path.open = open_path  # type: ignore[assignment, method-assign]
    os.fsync = counted(os.fsync)
    os.replace = counted(os.replace)
    os.unlink = counted(os.unlink)
    files.check_written = counted(files.check_written)


def slow(phase: str, pause: float) -> None:
    """Tell in the file `phase` that a phase has begun, and make each of its parts last longer."""

    def begun(call: Callable[..., Any], after: bool = False) -> Callable[..., Any]:
        def instead(*arguments: Any, **more: Any) -> Any:
            Path("phase").touch()
            result = call(*arguments, **more) if after else None
            time.sleep(pause)
            return result if after else call(*arguments, **more)

        return instead

    if phase in ("training", "validation"):  # which the warm-up has, too
        plan_text.forecast = lambda job, processes: "not known"
    if phase == "training":
        torch.Tensor.backward = begun(torch.Tensor.backward)  # type: ignore[method-assign]
    elif phase == "validation":
        loop.logits_of_parts = begun(evaluation.logits_of_parts)
    elif phase == "saving":
        session.checkpoint.save = begun(checkpoint.save, after=True)
    elif phase == "best":
        weights.save = begun(weights.save)
    elif phase == "test":
        results.evaluate_split = begun(results.evaluate_split)
    elif phase == "warm-up":
        plan_text.forecast = begun(plan_text.forecast)
    elif phase == "compilation":
        compilation.torch.compile = lambda module, **_: Compiling(module, pause)  # type: ignore[attr-defined]
    else:
        raise AssertionError(phase)


class Compiling(torch.nn.Module):
    """A module whose first call takes as long as a compilation."""

    def __init__(self, module: torch.nn.Module, pause: float) -> None:
        super().__init__()
        self.module, self.pause = module, pause

    def forward(self, *inputs: Any) -> Any:
        if self.pause:
            Path("phase").touch()
            time.sleep(self.pause)
            self.pause = 0.0
        return self.module(*inputs)


def note_samples(path: str) -> None:
    """Append the sample ids of each training batch to a file."""
    note_and_die(path, -1)


def note_and_die(path: str, left: int) -> None:
    """Append the sample ids of each training batch to a file, and die after `left` steps."""
    plan_text.forecast = lambda job, processes: "not known"
    real = trainer.Trainer.batches

    def taken(self: Any, plan: Any, start: int) -> Any:
        nonlocal left
        for position, batch in real(self, plan, start):
            with open(path, "a") as file:
                file.write(f"{plan.epoch} {position} {self.split.ids[batch.rows.numpy()].tolist()}\n")
            yield position, batch
            left -= 1
            if not left:
                die()

    trainer.Trainer.batches = taken  # type: ignore[method-assign]


def hang_reading(after: int) -> None:
    """Let the read after `after` images never return, as on a lost disk; whoever waits for it gives up early."""
    real, left = image_files.decode_image, [after]

    def read(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            time.sleep(3600)
        return real(*arguments, **more)

    image_files.decode_image = read
    image_files.MAX_DECODE_SECONDS = 0.5
    folder.MAX_BYTES_IN_MEMORY = 0


def keep_in_files() -> None:
    """Keep images in their files, as for large datasets."""
    folder.MAX_BYTES_IN_MEMORY = 0


def print_as(encoding: str) -> None:
    """Give standard output and error the encoding of a terminal."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=encoding)  # type: ignore[union-attr]


def print_into(path: str) -> None:
    """Send standard output to a file that cannot be written."""
    os.dup2(os.open(path, os.O_WRONLY), 1)


def ignore(name: str) -> None:
    """Ignore a signal from the start."""
    signal.signal(getattr(signal, name), signal.SIG_IGN)
