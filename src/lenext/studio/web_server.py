"""The web server, which ends by the signals that end a program, and then at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from lenext.foundation.signals import STOP_SIGNALS
from lenext.studio.state import Studio

GRACE_SECONDS = 2  # for answers that are under way when the studio ends


class Server(uvicorn.Server):
    """uvicorn, which ends the feed first. A second signal ends the process, whatever it is doing."""

    def __init__(self, application: ASGIApp, studio: Studio) -> None:
        """Set what is served.

        Args:
            application: The application behind its guard.
            studio: Its studio.
        """
        self.studio = studio
        super().__init__(
            uvicorn.Config(
                application, log_config=None, log_level="critical", access_log=False, server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )  # fmt: skip

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End by any of the signals; uvicorn would raise it once more afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, or at a second signal end the process."""
        if self.should_exit:
            self.studio.commands.close()
            os._exit(128 + sig)
        self.studio.feed.is_closing = self.should_exit = True
