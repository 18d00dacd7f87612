"""What cannot work is said once, in one line, by exit code 2, and leaves nothing behind."""

import socket
import subprocess
from pathlib import Path

import pytest

from lenext.cli import run as run_command
from lenext.foundation.errors import ConfigurationError
from lenext.workflows.launch import Launcher, exit_code
from lenext.workflows.processes import group_of_environment
from tests.processes.starting import ENVIRONMENT, LENEXT, TORCHRUN, run

SHORT = ["lenet", "--data", "digits", "--train-samples", "60", "--epochs", "1", "--batch-size", "16"]


@pytest.mark.parametrize(
    ("words", "processes", "reason"),
    [
        ([*SHORT, "--parts", "2"], 3, "3 processes, but parts=2"),
        ([*SHORT, "--parts", "1"], 2, "2 processes, but parts=1"),
        ([*SHORT, "--parts", "9"], 2, "batches of 16 are too small"),
        (["lenett", "--data", "digits"], 2, "did you mean 'lenet'?"),
        (["lenet", "--data", "nowhere"], 2, "nowhere"),
        ([*SHORT, "--parts", "2", "--compile", "yes"], 2, "cannot be compiled"),
    ],
)
@pytest.mark.slow
def test_the_users_mistakes_are_told_once(tmp_path: Path, words: list[str], processes: int, reason: str) -> None:
    printed = run(tmp_path, *LENEXT, "train", *words, "--processes", str(processes), expected=2)
    told = [line for line in printed.splitlines() if line.startswith("lenext: ")]
    assert len(told) == 1
    assert reason in told[0]
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("runs/*"))


def start_rank(folder: Path, rank: int, port: int, *words: str) -> "subprocess.Popen[str]":
    """Start a process as another launcher than ours would."""
    variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen(
        [*LENEXT, "train", *SHORT, *words],
        cwd=folder, env=ENVIRONMENT | {name: str(value) for name, value in variables.items()}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--precision", "fp32", "--seed", "1"], "has seed 1, process 0"),
        (["--precision", "fp32", "--validation-fraction", "0.3"], "has samples"),
        (["--precision", "bf16"], "has precision bf16"),
    ],
)
@pytest.mark.slow
def test_a_process_that_would_compute_something_else_is_refused(tmp_path: Path, words: list[str], reason: str) -> None:
    port = free_port()
    first = start_rank(tmp_path, 0, port, "--precision", "fp32")
    second = start_rank(tmp_path, 1, port, *words)
    told, silent = first.communicate(timeout=120)[0], second.communicate(timeout=120)[0]
    assert (first.returncode, second.returncode) == (2, 2), (told, silent)
    assert told.count("lenext: ") == 1
    assert reason in told
    assert "make them alike" in told
    assert silent == ""
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.slow
def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        printed = start_rank(tmp_path, 0, port).communicate(timeout=120)[0]
    assert printed == f"lenext: MASTER_PORT={port}: the port is in use; give another one\n"


@pytest.mark.slow
def test_torchrun_starts_no_other_verb(tmp_path: Path) -> None:
    printed = run(tmp_path, *TORCHRUN, "--nproc-per-node", "2", "-m", "lenext", "list", "models", expected=1)
    assert "list: it runs in one process; torchrun starts lenext train and resume" in printed


@pytest.mark.parametrize("count", ["0", "1025", "-1", "many", "1.5"])
def test_a_number_of_processes_that_cannot_be(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", "lenet", "--processes", count]) == 2
    assert "processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"RANK": "two", "WORLD_SIZE": "2"}, "whole numbers"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "from 0 to 1"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "from 0 to 1"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
    ],
)
def test_an_environment_that_cannot_be(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        group_of_environment(environment)


def test_without_a_launcher_a_process_is_alone() -> None:
    group = group_of_environment({})
    assert (group.rank, group.size, group.launch) == (0, 1, "")


def test_a_false_start_is_tried_three_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Killed(Launcher):
        def attempt(self, attempt: int, began: Path) -> list[int]:
            tried.append(attempt)
            return [75, -9]

    tried: list[int] = []
    assert Killed(["train"], 2, tmp_path).run() == 1
    assert tried == [0, 1, 2]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "lenext: process 1 was killed by SIGKILL; training continues from the newest checkpoint"
    assert "3 times before the first step; is there memory for 2 processes?" in told[-1]


@pytest.mark.parametrize(
    ("codes", "code"), [([0, 0], 0), ([2, 75], 2), ([75, 2], 2), ([75, -9], None), ([-6, 0], None), ([130, 130], 130)]
)
def test_the_exit_code_of_several(codes: list[int], code: int | None) -> None:
    assert exit_code(codes) == code
