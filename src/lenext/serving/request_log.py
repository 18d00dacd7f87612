"""The request log: a line of JSON a request, without what the request contained."""

import json
import os
import time
from typing import Any

from lenext.foundation.errors import RunError
from lenext.foundation.files import expand_path
from lenext.foundation.streams import write_error

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody reads is refused


class RequestLog:
    """Lines that several workers append to one file."""

    def __init__(self, target: str) -> None:
        """Open it.

        Args:
            target: A file; `-` for standard output; empty for no log.

        Raises:
            RunError: The file cannot be opened.
        """
        self.target, self.file = target, -1
        try:
            if target == "-":
                self.file = 1
            elif target:
                self.file = os.open(expand_path(target), FLAGS, 0o640)
        except OSError as error:
            raise RunError(f"{target}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Close it."""
        if self.file > 1:
            os.close(self.file)
        self.file = -1

    def write(self, **values: Any) -> None:
        """Append a line; one system call, so that lines of several processes do not mix."""
        if self.file < 0:
            return
        seconds = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"
        try:
            os.write(self.file, json.dumps({"time": stamp, "worker": os.getpid(), **values}).encode() + b"\n")
        except OSError as error:
            self.file = -1
            write_error(f"request log {self.target}: cannot be written any more ({error.strerror})")
