"""Commands of lenext as child processes: what takes long, the studio does as the command line would.

A training has a separate session, so that it continues when the studio ends, however that ends. Other work ends with
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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import read_tail

MAX_KEPT = 60  # commands that have ended
MAX_RUNNING = 8
MAX_OUTPUT_BYTES = 1 << 18  # read, from the end
TERMINATION_SECONDS = 5.0
STOPPED_CODES = (130, 143)  # as a shell counts Ctrl-C and SIGTERM
State = Literal["running", "done", "stopped", "failed"]


@dataclass
class Command:
    """A command at work, or one that has ended.

    Attributes:
        number: Its name in addresses; not to be guessed.
        kind: What it is for: train, plan, report, ...
        arguments: The arguments of `lenext`.
        process: The child process.
        output: The file of its standard output.
        errors: The file of its standard error.
        page: The file that it writes, when it is a page.
        name: The run or the audit that it works on; empty for none.
        is_stopping: Whether it was asked to stop.
    """

    number: str
    kind: str
    arguments: list[str]
    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path
    page: Path | None = None
    name: str = ""
    is_stopping: bool = False
    ended: dict[str, Any] | None = None

    @property
    def state(self) -> State:
        code = self.process.poll()
        if code is None:
            return "running"
        is_stopped = code < 0 or code in STOPPED_CODES or (self.is_stopping and code != 0)
        return "done" if code == 0 else "stopped" if is_stopped else "failed"

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of it; once it has ended, always the same."""
        if self.ended is not None:
            return self.ended
        state = self.state
        described: dict[str, Any] = {
            "number": self.number, "kind": self.kind, "state": state, "name": self.name,
            "command": command_line(self.arguments), "is_stopping": self.is_stopping and state == "running",
            "page": f"/commands/{self.number}/page" if state == "done" and self.page else "",
        }  # fmt: skip
        errors = self.read(self.errors).strip().splitlines()
        if state == "running":
            return described | {"progress": errors[-1] if errors else ""}
        if state == "failed":
            reason = f"it ended with code {self.process.returncode} and no message"
            described["error"] = errors[-1].removeprefix("lenext: ") if errors else reason
        elif state == "done" and self.kind == "plan":
            with suppress(ValueError):
                described["result"] = json.loads(self.read(self.output))
        self.ended = described
        return described

    @staticmethod
    def read(path: Path) -> str:
        try:
            return read_tail(path, MAX_OUTPUT_BYTES)
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

    def start(self, kind: str, arguments: Sequence[str], *, page: Path | None = None, name: str = "") -> Command:
        """Start a command.

        Args:
            kind: What it is for.
            arguments: The arguments of `lenext`.
            page: The file that it writes, when it is a page.
            name: The run or the audit that it works on.

        Raises:
            LenextError: Too many are running.
        """
        with self.lock:
            if sum(each.state == "running" for each in self.started.values()) >= MAX_RUNNING:
                raise LenextError(f"{MAX_RUNNING} commands are running already; wait for one to end")
            number = secrets.token_urlsafe(9)
            output, errors = (Path(self.folder.name, f"{number}.{suffix}") for suffix in ("out", "err"))
            try:
                with output.open("wb") as to_output, errors.open("wb") as to_errors:
                    process = subprocess.Popen(
                        [sys.executable, "-P", "-m", "lenext", *arguments],  # modules of this folder are not lenext's
                        stdin=subprocess.DEVNULL, stdout=to_output, stderr=to_errors, **new_session(),
                    )  # fmt: skip
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise LenextError(f"{command_line(arguments)[:200]}: it cannot be started ({reason})") from error
            threading.Thread(target=process.wait, daemon=True).start()  # an ended child needs someone who waits for it
            command = Command(number, kind, list(arguments), process, output, errors, page, name)
            self.started[number] = command
            self.forget_oldest()
            return command

    def forget_oldest(self) -> None:
        """Forget the commands that ended longest ago, with their output."""
        ended = [each for each in self.started.values() if each.state != "running"]
        for each in ended[: max(0, len(ended) - MAX_KEPT)]:
            del self.started[each.number]
            pages = [each.page] if each.page and each.page.parent == each.output.parent else []
            for path in (each.output, each.errors, *pages):
                path.unlink(missing_ok=True)

    def find(self, number: str) -> Command:
        """Return a command. Raises LenextError where there is none of this number."""
        command = self.started.get(number)
        if command is None:
            raise RunError(f"{number}: there is no such command; the studio may have been restarted")
        return command

    def stop(self, number: str) -> None:
        """Ask a command to stop; a training saves what it has learned first.

        Raises:
            LenextError: There is no such command, it has ended, or it was asked before: a second time would abort it.
        """
        command = self.find(number)
        if command.state != "running":
            raise ConfigurationError("the command has ended already")
        if command.is_stopping:
            raise ConfigurationError("the command is stopping already")
        command.is_stopping = True
        if command.kind == "train":
            command.process.terminate()
        else:
            end_command(command)

    def running(self, kind: str) -> list[Command]:
        """Return the commands of a kind that are running."""
        return [each for each in list(self.started.values()) if each.kind == kind and each.state == "running"]

    def close(self) -> None:
        """End all commands but the trainings, and remove what they have printed."""
        for each in list(self.started.values()):
            if each.kind != "train":
                end_command(each)
        self.folder.cleanup()


def new_session() -> dict[str, Any]:
    """Return what lets a child live on when the terminal of its parent closes or sends Ctrl-C."""
    if os.name == "nt":
        flags = ("CREATE_NEW_PROCESS_GROUP", "DETACHED_PROCESS")
        return {"creationflags": sum(getattr(subprocess, flag) for flag in flags)}
    return {"start_new_session": True}


def end_command(command: Command) -> None:
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
