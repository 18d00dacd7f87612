"""Processes that run `lenext` and start in milliseconds: forks of a server that has everything imported.

`python -m tests.recovery.fork_server` is the server. It reads one order a line and answers each with one line;
`ForkServer` is the client.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

import lenext
from tests.figures import UNDRAWN

IMPORTED_LATE = (
    "matplotlib.pyplot", "sklearn.datasets", "sklearn.decomposition", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.model_selection", "torch._dynamo", "torch.optim.adamw", "torch.optim.sgd", "tests.recovery.faults",
)  # fmt: skip
"""Modules that no module of lenext imports at its top, and that take seconds: torch._dynamo alone takes two."""


class ForkServer:
    """The client: starts processes, returns their ids, and waits for them to end."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.recovery.fork_server"]
        place = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=place, bufsize=1
        )

    def ask(self, **order: Any) -> int:
        """Send an order and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        return int(self.process.stdout.readline())

    def start(self, *arguments: object, cwd: Path, fault: tuple[Any, ...] = ()) -> int:
        """Start `lenext ARGUMENTS` and return the process id; its output goes to the files `out` and `err` in `cwd`.

        Args:
            arguments: The command line.
            cwd: The process's working directory.
            fault: A function of tests.recovery.faults and its arguments, called in the process first.
        """
        return self.ask(arguments=list(map(str, arguments)), cwd=str(cwd), fault=fault)

    def wait(self, process: int) -> int:
        """Wait for a process to end; return its exit code, or minus the signal that killed it."""
        return self.ask(wait=process)

    def run(self, *arguments: object, cwd: Path, fault: tuple[Any, ...] = ()) -> int:
        """Start `lenext ARGUMENTS`, wait for it to end, and return its exit code."""
        return self.wait(self.start(*arguments, cwd=cwd, fault=fault))

    def close(self) -> None:
        """End the server."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def run_order(order: dict[str, Any]) -> int:
    """Run a command line in a forked process, with its output in files; return its exit code."""
    os.chdir(order["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", 0), (2, "err", 0)):
        os.dup2(os.open(path, flags or (os.O_WRONLY | os.O_CREAT | os.O_TRUNC)), descriptor)
    from lenext.__main__ import main
    from tests.recovery import faults

    for name, method in UNDRAWN.items():
        setattr(Figure, name, method)
    if order["fault"]:
        name, *arguments = order["fault"]
        getattr(faults, name)(*arguments)
    code = main(order["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def serve() -> None:
    """Import everything, then start a process for each order on standard input."""
    for name in (*IMPORTED_LATE, *(module.name for module in walk_packages(lenext.__path__, "lenext."))):
        if name != "lenext.__main__":
            import_module(name)
    Image.init()  # the plugins of all file formats
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (answer := os.fork()):
            code = 1
            try:
                code = run_order(order)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(code)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
