"""The supervisor of a service: it listens, starts the workers, replaces those that end, and hands on its orders.

It computes nothing and loads no weights, so that nothing that a request does can harm it.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from lenext.exporting.extras import SERVE, require
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.streams import write_error, write_out
from lenext.serving.copies import copy_model
from lenext.serving.metrics import forget_worker
from lenext.serving.orders import SignalsCaught, raise_file_limit
from lenext.serving.request_log import RequestLog
from lenext.serving.settings import DRAIN_SECONDS, EXIT_SECONDS, HANGING_SECONDS, ServiceSettings, Source
from lenext.serving.worker import run_worker
from lenext.web.listening import listen

START_SECONDS = 600.0  # in which a worker must have opened its models
PREPARE_SECONDS = 300.0  # and new ones
TICK_SECONDS = 0.5
MAX_DELAY_SECONDS = 10.0  # before another worker is started, after several that failed
SPARE_SECONDS = 1.0  # after which a worker that should have ended is killed


@dataclass
class Member:
    """A worker, as the supervisor sees it.

    Attributes:
        process: The process.
        pipe: To it.
        began: When it was started.
        heard: When it was heard of last.
        busy: Seconds that its engine was at work then, without an end.
        is_ready: Whether it answers requests.
        replies: What it said about an order.
    """

    process: BaseProcess
    pipe: Connection
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    busy: float = 0.0
    is_ready: bool = False
    replies: list[tuple[Any, ...]] = field(default_factory=list)


class Supervisor:
    """A service and its workers."""

    def __init__(self, settings: ServiceSettings, sources: Sequence[Source]) -> None:
        """Set what is served.

        Args:
            settings: Of the service.
            sources: Its models, the first being the default.
        """
        self.settings, self.asked = settings, list(sources)
        self.members: list[Member] = []
        self.copies: dict[str, Source] = {}
        self.copy_count = self.order_count = self.failures = 0
        self.next_start = 0.0
        self.stop_number = 0
        self.wants_reload = self.is_described = self.is_open = False
        self.context = multiprocessing.get_context("spawn")

    def serve(self) -> None:
        """Serve until Ctrl-C or SIGTERM.

        Raises:
            ConfigurationError: An extra is not installed, or the port is taken.
            LenextError: A model cannot be opened.
        """
        for package in SERVE:
            require(package, "serve", "serve")
        RequestLog(self.settings.request_log).close()  # a file that cannot be written is said at once
        listening = listen(self.settings.host, (self.settings.port,))
        raise_file_limit()
        with (
            closing(listening),
            tempfile.TemporaryDirectory(prefix="lenext-serve-", ignore_cleanup_errors=True) as name,
        ):
            self.folder, self.listening = Path(name), listening
            metrics = self.folder / "metrics"
            metrics.mkdir()
            self.settings = replace(self.settings, metrics_dir=str(metrics), port=listening.getsockname()[1])
            with SignalsCaught(self):
                try:
                    self.open()
                    self.watch()
                finally:
                    self.end()

    def open(self) -> None:
        """Copy the models, start the workers, and wait until all answer."""
        for source in self.asked:
            write_out(f"opening {source.name}: {source.path}\n")
        sys.stdout.flush()
        self.copies = self.copy(self.asked)
        while len(self.members) < self.settings.workers:
            self.start_member()
        until = time.monotonic() + START_SECONDS
        while not all(member.is_ready for member in self.members) and not self.stop_number:
            self.listen_to_members()
            for member in self.members:
                if not member.process.is_alive():
                    raise RunError(f"a worker ended with code {member.process.exitcode} before it answered")
            if time.monotonic() > until:
                raise RunError(f"the models were not open after {START_SECONDS:.0f} s")
        if self.stop_number:
            return
        self.is_open = True
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        write_out(
            f"serving at http://{host}:{self.settings.port} with {self.settings.workers} "
            f"worker{'s' * (self.settings.workers > 1)} of {self.settings.threads} "
            f"thread{'s' * (self.settings.threads > 1)}, process {os.getpid()}; Ctrl-C ends it\n"
        )
        sys.stdout.flush()
        if not self.settings.is_local and not self.settings.api_key:
            write_error(
                "warning: anyone who can reach this address can ask: give --api-key-file, or put a proxy before it"
            )

    def copy(self, sources: Sequence[Source]) -> dict[str, Source]:
        """Return copies of the models by name."""
        self.copy_count += 1
        self.copy_folder = self.folder / f"{self.copy_count}"
        return {each.name: copy_model(each, self.copy_folder / f"{place}") for place, each in enumerate(sources)}

    def remove_copies(self) -> None:
        """Remove all that the service keeps on the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_member(self) -> None:
        """Start a worker."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=run_worker, args=(self.settings, self.copies, self.listening, theirs), name="lenext-worker"
        )
        process.start()
        theirs.close()
        self.members.append(Member(process, ours))

    def watch(self) -> None:
        """Replace workers that end or hang, and reload when asked, until told to stop."""
        while not self.stop_number:
            self.listen_to_members()
            self.remove_dead()
            if len(self.members) < self.settings.workers and time.monotonic() >= self.next_start:
                self.start_member()
            is_whole = len(self.members) == self.settings.workers and all(each.is_ready for each in self.members)
            if self.wants_reload and is_whole:  # a worker that is starting has the present models
                self.wants_reload = False
                self.reload()

    def listen_to_members(self, seconds: float = TICK_SECONDS) -> None:
        """Take what the workers report, for at most some seconds."""
        alive = [member for member in self.members if member.process.is_alive()]
        pipes = {member.pipe: member for member in self.members if member in alive or self.has_news(member)}
        if not pipes:
            time.sleep(seconds)
            return
        for pipe in wait([*pipes, *(member.process.sentinel for member in alive)], seconds):
            member = pipes.get(pipe)  # type: ignore[call-overload]
            if member is None:
                continue
            try:
                while member.pipe.poll():
                    self.take(member, member.pipe.recv())
            except (EOFError, OSError):
                if not member.process.is_alive():
                    continue
                time.sleep(0.01)  # it is ending

    @staticmethod
    def has_news(member: Member) -> bool:
        """Return whether a worker that has ended left a message."""
        try:
            return member.pipe.poll()
        except (EOFError, OSError):
            return False

    def take(self, member: Member, message: tuple[Any, ...]) -> None:
        """Take a message of a worker."""
        member.heard, (kind, *values) = time.monotonic(), message
        if kind == "beat":
            (member.busy,) = values
        elif kind == "ready":
            member.is_ready, self.failures = True, 0
            self.describe_models(values[0])
        elif kind == "failed":
            text, code = values
            if not self.is_open:
                error = LenextError(text)
                error.exit_code = code
                raise error
            write_error(f"a new worker failed: {text}")
        elif values[0] == self.order_count:  # not the reply to an earlier order
            member.replies.append((kind, *values))

    def describe_models(self, models: dict[str, list[str]]) -> None:
        """Print what is served, once."""
        if self.is_described:
            return
        self.is_described = True
        for name, (version, engine) in models.items():
            write_out(f"{name}: version {version}, by {engine}\n")
        if any(not engine.startswith("torch") for _, engine in models.values()):
            write_out("remarks that an image is unlike the training images need --engine torch\n")

    def remove_dead(self) -> None:
        """Take workers off that have ended."""
        self.end_hanging()
        moment = time.monotonic()
        for member in list(self.members):
            if member.process.is_alive():
                continue
            code = member.process.exitcode or 0
            ending = f"by signal {-code}" if code < 0 else f"with code {code}"
            write_error(f"worker {member.process.pid} ended {ending}; it is replaced")
            self.members.remove(member)
            self.forget(member)
            self.failures = 0 if member.is_ready and moment - member.began > MAX_DELAY_SECONDS else self.failures + 1
            delay = 0.0 if self.failures <= 1 else min(MAX_DELAY_SECONDS, 0.5 * 2 ** min(self.failures, 10))
            self.next_start = moment + delay

    def end_hanging(self) -> None:
        """End the workers that hang."""
        moment = time.monotonic()
        for member in self.members:
            silent = moment - member.heard > (HANGING_SECONDS if member.is_ready else START_SECONDS)
            if member.process.is_alive() and (silent or member.busy > HANGING_SECONDS):
                write_error(f"worker {member.process.pid} hangs; it is ended")
                member.process.kill()
                member.process.join()

    def forget(self, member: Member) -> None:
        """Forget what a worker that has ended left."""
        member.pipe.close()
        forget_worker(self.folder / "metrics", member.process.pid or 0)

    def reload(self) -> None:
        """Open the models' present files in all workers, verify them, and let all answer with them, or none."""
        write_error("reloading; the models of before answer meanwhile")
        began, before = time.monotonic(), self.copy_folder
        try:
            copies = self.copy(self.asked)
            reason = self.ask("prepare", "prepared", copies)
        except LenextError as error:
            reason, copies = str(error), {}
        replaced = self.copy_folder if reason else before
        self.copy_folder = before if reason else self.copy_folder
        shutil.rmtree(replaced, ignore_errors=True)
        if reason:
            for member in self.members:
                with suppress(OSError):
                    member.pipe.send(("discard",))
            write_error(f"not reloaded, the models are those of before: {reason}")
            return
        self.copies = copies  # of workers that start from now on
        reason = self.ask("commit", "committed")
        replies = [reply[2] for member in self.members for reply in member.replies if reply[0] == "committed"]
        versions = ", ".join(
            f"{name} is version {version}" for name, version in (replies[0] if replies else {}).items()
        )
        write_error(f"reloaded in {time.monotonic() - began:.0f} s: {reason or versions}")

    def ask(self, order: str, expected: str, *values: Any) -> str:
        """Give an order to all workers, and return why one did not do it; empty when all did."""
        ready = [member for member in self.members if member.is_ready]
        self.order_count += 1
        for member in ready:
            member.replies.clear()
            with suppress(OSError):
                member.pipe.send((order, self.order_count, *values))
        until = time.monotonic() + PREPARE_SECONDS
        while any(not member.replies and member.process.is_alive() for member in ready):
            self.end_hanging()
            self.listen_to_members()
            if self.stop_number:
                return "the service ends"
            if time.monotonic() > until:
                return f"no answer within {PREPARE_SECONDS:.0f} s"
        replies = [reply for member in ready for reply in member.replies]
        return next((str(reply[2]) for reply in replies if reply[0] != expected), "")

    def end(self) -> None:
        """Let the workers end: after SIGTERM they answer for some seconds more, though they say that they will not."""
        seconds = DRAIN_SECONDS if self.stop_number == getattr(signal, "SIGTERM", -1) else 0.0
        if self.is_open and self.stop_number:
            with suppress(OSError):  # nobody may read it any more
                write_out(f"ending: requests are answered for {seconds:.0f} more seconds\n" if seconds else "ending\n")
                sys.stdout.flush()
        for member in self.members:
            with suppress(OSError):
                member.pipe.send(("drain", seconds))
        until = time.monotonic() + seconds + EXIT_SECONDS + SPARE_SECONDS
        while any(member.process.is_alive() for member in self.members) and time.monotonic() < until:
            for member in self.members:
                member.process.join(0.05)
            with suppress(OSError, EOFError):
                self.listen_to_members(0.0)
        for member in self.members:
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            self.forget(member)

    @property
    def processes(self) -> list[BaseProcess]:
        """The workers' processes."""
        return [member.process for member in self.members]
