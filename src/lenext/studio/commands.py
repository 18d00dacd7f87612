"""Commands of lenext as child processes: what the studio does, it does as the command line would.

A training has a session of its own, so that it goes on when the studio ends, however that ends. Other work ends with
the studio.
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.files import read_regular

MAX_KEPT = 60  # commands that have ended
MAX_RUNNING = 8
MAX_OUTPUT_BYTES = 4 << 20
TERMINATION_SECONDS = 5.0
State = Literal["running", "done", "failed"]


@dataclass
class Command:
    """A command at work, or one that has ended.

    Attributes:
        number: Its name in addresses; not to be guessed.
        kind: What it is for: train, plan, report, ...
        arguments: Of `lenext`.
        process: The child.
        output: The file of its standard output.
        errors: The file of its standard error.
        page: The file that it writes, when it is a page.
        run: The run that it is of; empty for none.
        begun: When it was started, in seconds of the clock.
    """

    number: str
    kind: str
    arguments: list[str]
    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path
    page: Path | None = None
    run: str = ""
    begun: float = field(default_factory=time.time)

    @property
    def state(self) -> State:
        code = self.process.poll()
        return "running" if code is None else ("done" if code == 0 else "failed")

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        state = self.state
        described: dict[str, Any] = {
            "number": self.number, "kind": self.kind, "state": state, "run": self.run,
            "command": command_line(self.arguments), "seconds": round(time.time() - self.begun, 1),
            "page": f"/commands/{self.number}/page" if state == "done" and self.page else "",
        }  # fmt: skip
        errors = self.read(self.errors).strip().splitlines()
        if state == "failed":
            described["error"] = errors[-1].removeprefix("lenext: ") if errors else "it ended without a word"
        elif state == "running":
            described["progress"] = errors[-1] if errors else ""
        elif self.kind == "plan":
            with suppress(ValueError):
                described["result"] = json.loads(self.read(self.output))
        return described

    @staticmethod
    def read(path: Path) -> str:
        try:
            return read_regular(path, MAX_OUTPUT_BYTES).decode(errors="replace")
        except OSError:
            return ""


def command_line(arguments: Sequence[str]) -> str:
    """Return a command as one would type it."""
    return shlex.join(["lenext", *arguments])


class Commands:
    """The commands that a studio has started."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="lenext-studio-", ignore_cleanup_errors=True)
        self.started: dict[str, Command] = {}
        self.lock = threading.Lock()

    def start(
        self, kind: str, arguments: Sequence[str], *, page: Path | None = None, run: str = "", alone: bool = False
    ) -> Command:
        """Start a command.

        Args:
            kind: What it is for.
            arguments: Of `lenext`.
            page: The file that it writes, when it is a page.
            run: The run that it is of.
            alone: Whether an earlier one of this kind ends, as its answer is not wanted any more.

        Raises:
            LenextError: Too many are running.
        """
        with self.lock:
            running = [each for each in self.started.values() if each.state == "running"]
            for each in running:
                if alone and each.kind == kind:
                    end(each)
            if sum(each.state == "running" for each in running) >= MAX_RUNNING:
                raise LenextError(f"{MAX_RUNNING} commands are running already; wait for one to end")
            number = secrets.token_urlsafe(9)
            output, errors = (Path(self.folder.name, f"{number}.{name}") for name in ("out", "err"))
            with output.open("wb") as to_output, errors.open("wb") as to_errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", "lenext", *arguments],
                    stdin=subprocess.DEVNULL, stdout=to_output, stderr=to_errors, **of_its_own(),
                )  # fmt: skip
            command = Command(number, kind, list(arguments), process, output, errors, page, run)
            self.started[number] = command
            self.forget_oldest()
            return command

    def forget_oldest(self) -> None:
        """Forget the commands that ended longest ago, with their output."""
        ended = [each for each in self.started.values() if each.state != "running"]
        for each in ended[: max(0, len(ended) - MAX_KEPT)]:
            del self.started[each.number]
            for path in (each.output, each.errors):
                path.unlink(missing_ok=True)

    def find(self, number: str) -> Command:
        """Return a command. Raises LenextError where there is none of this number."""
        command = self.started.get(number)
        if command is None:
            raise RunError(f"{number}: there is no such command; the studio may have been started anew")
        return command

    def trainings(self) -> list[Command]:
        """Return the trainings that are running."""
        return [each for each in list(self.started.values()) if each.kind == "train" and each.state == "running"]

    def close(self) -> None:
        """End all commands but the trainings, and remove what they have printed."""
        for each in list(self.started.values()):
            if each.kind != "train":
                end(each)
        self.folder.cleanup()


def of_its_own() -> dict[str, Any]:
    """Return what lets a child live on when the terminal of its parent closes or sends Ctrl-C."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
    return {"start_new_session": True}


def end(command: Command) -> None:
    """End a command and its children."""
    if command.state != "running":
        return
    with suppress(psutil.Error):
        for child in psutil.Process(command.process.pid).children(recursive=True):
            child.terminate()
    command.process.terminate()
    try:
        command.process.wait(TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        command.process.kill()
        command.process.wait()
