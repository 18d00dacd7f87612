"""Ctrl-C and SIGTERM, asked for at the points where work can stop, so that nothing is torn in the middle."""

import signal
import threading
from types import FrameType

WATCHED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StoppedError(KeyboardInterrupt):
    """Work that a signal ended; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopSignal:
    """Catches the signals that end a program while it is entered (in the main thread; elsewhere it does nothing).

    The first one is noted in `number`, for the work to stop where it can; with `at_once` set, or when it is the second,
    StoppedError is raised where the program stands.
    """

    def __init__(self) -> None:
        self.number = 0
        self.at_once = False

    def __enter__(self) -> "StopSignal":
        main = threading.current_thread() is threading.main_thread()
        heeded = [one for one in WATCHED if main and signal.getsignal(one) is not signal.SIG_IGN]  # else as asked
        self.before = {number: signal.signal(number, self.note) for number in heeded}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def __bool__(self) -> bool:
        return self.number > 0

    def note(self, number: int, _: FrameType | None) -> None:
        again, self.number = self.number > 0, number
        if again or self.at_once:
            raise StoppedError(number)
