"""Ctrl-C and SIGTERM, polled where work can stop, so that nothing is left half done."""

import signal
import threading
from types import FrameType

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StoppedError(KeyboardInterrupt):
    """The end of work that a signal stopped.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopSignal:
    """A context that catches the signals that end a program; outside the main thread it does nothing.

    The first signal is recorded, for the work to stop where it can. The second one raises StoppedError where the
    program is; so does the first where `at_once` is set.

    Attributes:
        number: Number of the signal that has come; 0 for none.
        at_once: Whether the first signal raises.
    """

    def __init__(self) -> None:
        self.number = 0
        self.at_once = False

    def __enter__(self) -> "StopSignal":
        main = threading.current_thread() is threading.main_thread()
        ignored = {number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN}  # nohup asks for it
        caught = [number for number in STOP_SIGNALS if main and number not in ignored]
        self.before = {number: signal.signal(number, self.record_signal) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __bool__(self) -> bool:
        return self.number > 0

    def record_signal(self, number: int, _: FrameType | None) -> None:
        is_second, self.number = self.number > 0, number
        if is_second or self.at_once:
            raise StoppedError(number)
