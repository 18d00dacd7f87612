"""The output of lenext: lines and tables on a terminal or elsewhere, and all lines in a run's log."""

import io
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lenext.foundation.files import make_write_error
from lenext.foundation.streams import printable
from lenext.foundation.terminal import SafeConsole

TABLE_CHARACTERS = 160  # of a table where there is no terminal
LOG_CHARACTERS = 100  # of a table in the log


class Console:
    """A console that prints lines and tables, and keeps them in a run's log.

    Args:
        quiet: Whether nothing is printed.
        lines: Whether lines are printed; without them a terminal shows the live bar alone.
    """

    def __init__(self, quiet: bool = False, lines: bool = True) -> None:
        self.terminal = SafeConsole(quiet=quiet, soft_wrap=True)
        if not self.terminal.is_terminal:
            self.terminal.width = TABLE_CHARACTERS
        self.lines = lines
        self.log_file: IO[str] | None = None
        self.pending: list[str] = []

    def open_log(self, path: Path) -> None:
        """Write into this log file from now on, after the lines printed so far."""
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

    def print(self, content: Any = "", style: str = "") -> None:
        """Print a line or a table, and log it."""
        try:
            if self.lines:
                self.terminal.print(content, style=style or None, markup=False)
        except OSError:  # the terminal or the pipe has gone, which is no reason to stop training
            self.terminal.quiet = True
        recorder = SafeConsole(width=LOG_CHARACTERS, file=(buffer := io.StringIO()), soft_wrap=True)
        recorder.print(content, markup=False)
        self.write(buffer.getvalue())

    def log(self, line: str) -> None:
        """Write a line into the log alone."""
        self.write(printable(line) + "\n")

    def write(self, text: str) -> None:
        """Write text into the log; after the first failure there is no log any more."""
        if not self.log_file:
            self.pending.append(text)
            return
        try:
            self.log_file.write(text)
        except OSError as error:
            self.log_file = None
            self.print(f"note: the log cannot be written any more ({error.strerror or error})")

    def print_facts(self, facts: dict[str, str]) -> None:
        """Print names and their values, aligned."""
        width = max(map(len, facts)) + 2
        for name, value in facts.items():
            self.print(f"{name:<{width}}{value}")


def open_console(quiet: bool | Console) -> Console:
    """Return a console, or the given one unchanged."""
    return quiet if isinstance(quiet, Console) else Console(quiet)


def format_duration(seconds: float) -> str:
    """Format a duration: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"
