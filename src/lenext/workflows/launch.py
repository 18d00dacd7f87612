"""The launcher of `--processes`: it starts the processes of a training, and starts them again when one is lost."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from lenext.foundation.errors import ConfigurationError, LostProcessError, ToldElsewhereError
from lenext.foundation.signals import STOP_SIGNALS
from lenext.foundation.streams import write_error

STORE_VARIABLE = "LENEXT_STORE"  # the file by which the processes meet
BEGAN_VARIABLE = "LENEXT_BEGAN"  # a file that the first process makes after its first step
LAUNCH_VARIABLE = "LENEXT_LAUNCH"  # names the launch, the same in every attempt
LAUNCHER_VARIABLE = "LENEXT_LAUNCHER"  # a pipe that closes when the launcher ends
POLL_SECONDS = 0.05
GRACE_SECONDS = 8.0  # for the others to save and end, when one was lost
SAVING_SECONDS = 300.0  # for the first one to save and end, when all were asked to stop
MAX_FALSE_STARTS = 3  # attempts in a row that are lost before their first step
MAX_PROCESSES = 1024


def launch(arguments: Sequence[str], count: int) -> None:
    """Run a command in several processes, until they have done it.

    Args:
        arguments: Of the command line, without `--processes`.
        count: The number of processes.

    Raises:
        ToldElsewhereError: The processes have reported an error, or were stopped.
    """
    if not 1 <= count <= MAX_PROCESSES:
        raise ConfigurationError(f"processes={count}: it must be from 1 to {MAX_PROCESSES}")
    folder = Path(tempfile.mkdtemp(prefix="lenext-"))
    try:
        launcher = Launcher(list(arguments), count, folder)
        with launcher.signals():
            code = launcher.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code:
        raise ToldElsewhereError(code)


@dataclass
class Launcher:
    """The processes of a command.

    Attributes:
        arguments: Of the command line.
        count: The number of processes.
        folder: A temporary one, where they meet.
        name: Of the launch.
        asked: The last signal that asked all to stop; 0 for none.
        running: The processes, by rank.
    """

    arguments: list[str]
    count: int
    folder: Path
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked: int = 0
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self) -> int:
        """Start the processes, again and again where one is lost, and return the exit code of the command."""
        false_starts = attempt = 0
        while True:
            began = self.folder / f"began-{attempt}"
            codes = self.attempt(attempt, began)
            if (code := exit_code(codes)) is not None:
                return code
            if self.asked:
                return 128 + self.asked
            killed = [describe_end(rank, code) for rank, code in enumerate(codes) if code < 0]
            lost = ", ".join(killed) or "a process was lost"
            false_starts = 0 if began.exists() else false_starts + 1
            if false_starts == MAX_FALSE_STARTS:
                write_error(
                    f"lenext: {lost}, {false_starts} times before the first step; is there memory for {self.count} "
                    "processes? give fewer of them, or a smaller --batch-size"
                )
                return 1
            attempt += 1
            write_error(f"lenext: {lost}; training continues from the newest checkpoint")

    def attempt(self, attempt: int, began: Path) -> list[int]:
        """Start all processes, wait until all have ended, and return their exit codes."""
        reader, writer = os.pipe()  # the writer stays here, and closes when this process ends
        try:
            self.running = [self.start(rank, attempt, began, reader) for rank in range(self.count)]
        finally:
            os.close(reader)
        try:
            if self.asked:
                self.send(self.asked)
            deadline = None
            while None in (codes := [process.poll() for process in self.running]):
                time.sleep(POLL_SECONDS)
                if deadline is None and any(codes):
                    is_loss = any(
                        code is not None and (code < 0 or code == LostProcessError.exit_code) for code in codes
                    )
                    deadline = time.monotonic() + (GRACE_SECONDS if is_loss else SAVING_SECONDS)
                if deadline is not None and time.monotonic() > deadline:
                    self.send(signal.SIGKILL)
            return [process.returncode for process in self.running]
        finally:
            self.send(signal.SIGKILL)  # after an error here
            os.close(writer)

    def start(self, rank: int, attempt: int, began: Path, pipe: int) -> subprocess.Popen[bytes]:
        """Start a process in a new session: the terminal's Ctrl-C reaches this one, which passes it on once."""
        variables = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": self.count,
            "LOCAL_WORLD_SIZE": self.count,
            "TORCHELASTIC_RESTART_COUNT": attempt,
            STORE_VARIABLE: self.folder / f"store-{attempt}",
            BEGAN_VARIABLE: began,
            LAUNCH_VARIABLE: self.name,
            LAUNCHER_VARIABLE: pipe,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "lenext", *self.arguments],
            env=os.environ | {name: str(value) for name, value in variables.items()},
            stdin=subprocess.DEVNULL,
            pass_fds=[pipe],
            start_new_session=True,
        )

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Pass the signals that ask to stop on to all processes, for the length of a block."""
        heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # not of nohup
        before = {number: signal.signal(number, self.pass_on) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """Send a signal to all processes."""
        self.asked = number
        self.send(number)

    def send(self, number: int) -> None:
        """Send a signal to the processes that run."""
        for process in self.running:
            with suppress(ProcessLookupError):
                if process.poll() is None:
                    process.send_signal(number)


def exit_code(codes: Sequence[int]) -> int | None:
    """Return the exit code of a command whose processes have ended; None when one was lost.

    >>> exit_code([0, 0]), exit_code([2, 75]), exit_code([75, -9]), exit_code([130, 130])
    (0, 2, None, 130)
    """
    told = [code for code in codes if code > 0 and code != LostProcessError.exit_code]
    if told:
        return told[0]
    return None if any(codes) else 0


def describe_end(rank: int, code: int) -> str:
    """Return how a process was killed, in words."""
    with suppress(ValueError):
        return f"process {rank} was killed by {signal.Signals(-code).name}"
    return f"process {rank} was killed by signal {-code}"
