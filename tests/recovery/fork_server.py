"""Processes of their own that run `lenext` and start in milliseconds: forked from one that has everything imported.

`python -m tests.recovery.fork_server` reads an order a line and answers with a line; `ForkServer` is its other end.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

IMPORTED = (
    "lenext.cli.training", "lenext.cli.comparing", "lenext.comparison.race", "lenext.comparison.search",
    "lenext.workflows.train", "lenext.workflows.resume", "lenext.data.digits",
    "lenext.data.folder", "sklearn.datasets", "sklearn.model_selection", "sklearn.metrics", "matplotlib.pyplot",
    "torch.optim.adamw", "torch.optim.sgd", "filelock", "tests.recovery.faults",
)  # fmt: skip


class ForkServer:
    """Starts processes, tells their numbers, and waits for their ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.recovery.fork_server"]
        place = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=place, bufsize=1
        )

    def ask(self, **order: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        return int(self.process.stdout.readline())

    def start(self, *arguments: object, cwd: Path, fault: tuple[Any, ...] = ()) -> int:
        """Begin `lenext ARGUMENTS`; its output goes to `out` and `err` in the folder. fault: a function of
        tests.recovery.faults and its arguments, called in the process before. Returns the process's number."""
        return self.ask(arguments=list(map(str, arguments)), cwd=str(cwd), fault=fault)

    def wait(self, number: int) -> int:
        """How a process ended: its exit code, or minus the signal that killed it."""
        return self.ask(wait=number)

    def run(self, *arguments: object, cwd: Path, fault: tuple[Any, ...] = ()) -> int:
        return self.wait(self.start(*arguments, cwd=cwd, fault=fault))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def child(order: dict[str, Any]) -> int:
    """In the forked process: run the command line with its output in files."""
    os.chdir(order["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and those of nohup
    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", 0), (2, "err", 0)):
        os.dup2(os.open(path, flags or (os.O_WRONLY | os.O_CREAT | os.O_TRUNC)), descriptor)
    from lenext.__main__ import main
    from tests.recovery import faults

    if order["fault"]:
        name, *arguments = order["fault"]
        getattr(faults, name)(*arguments)
    code = main(order["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def serve() -> None:
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (answer := os.fork()):
            code = 1
            try:
                code = child(order)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(code)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
