"""A process that is killed, stopped or asked to stop: training ends with the bits of an unbroken one, or can go on."""

import signal
import time
from pathlib import Path

import pytest

from tests.processes.starting import (
    LENEXT,
    TORCHRUN,
    end,
    outcome,
    run,
    start,
    train,
    wait_for_file,
    wait_for_ranks,
)

WORDS = ["lenet", "--data", "digits", "--shift", "1", "--epochs", "12", "--batch-size", "16", "--parts", "2",
         "--checkpoint-minutes", "0.01", "--ema-decay", "0.9"]  # fmt: skip
CHECKPOINTS = "runs/many/checkpoints/epoch-*"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcome of a training that nothing breaks."""
    return outcome(train(tmp_path_factory.mktemp("whole"), "whole", WORDS))


def commands(how: str) -> list[str]:
    if how == "torchrun":
        return [
            *TORCHRUN,
            "--max-restarts",
            "9",
            "--nproc-per-node",
            "2",
            "-m",
            "lenext",
            "train",
            *WORDS,
            "--name",
            "many",
        ]
    return [*LENEXT, "train", *WORDS, "--name", "many", "--processes", "2"]


@pytest.mark.parametrize(
    ("how", "number"),
    [
        pytest.param("processes", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("processes", signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param("torchrun", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("torchrun", signal.SIGSTOP, marks=pytest.mark.endurance),
    ],
)
def test_a_lost_process_is_replaced(tmp_path: Path, expected: dict[str, str], how: str, number: signal.Signals) -> None:
    """Rank 0 and rank 1, one after the other; a stopped one is noticed by its silence."""
    launcher = start(tmp_path, *commands(how))
    wait_for_file(tmp_path, CHECKPOINTS, launcher)
    running = wait_for_ranks(launcher, 2)
    for rank in (1, 0):
        lost, before = time.monotonic(), sorted(tmp_path.glob(CHECKPOINTS))
        running[rank].send_signal(number)
        running = wait_for_ranks(launcher, 2, [process.pid for process in running.values()])
        while sorted(tmp_path.glob(CHECKPOINTS)) == before and launcher.poll() is None:
            time.sleep(0.05)
        assert time.monotonic() - lost < 60, "it hangs"
    printed = end(launcher)
    assert outcome(tmp_path / "runs" / "many") == expected
    assert printed.count("resumed in epoch") in (1, 2)  # the second may be lost before it says so
    if how == "processes":
        assert printed.count("training continues from the newest checkpoint") == 2
        assert number != signal.SIGKILL or "process 1 was killed by SIGKILL" in printed


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_is_killed_while_it_starts(tmp_path: Path, expected: dict[str, str], rank: int) -> None:
    launcher = start(tmp_path, *commands("processes"))
    running = wait_for_ranks(launcher, 2)
    running[rank].kill()
    end(launcher)
    assert outcome(tmp_path / "runs" / "many") == expected
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["many"]


@pytest.mark.parametrize(
    ("number", "target"),
    [
        pytest.param(signal.SIGINT, "launcher", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "rank 1", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "launcher", marks=pytest.mark.endurance),
        pytest.param(signal.SIGINT, "rank 1", marks=pytest.mark.endurance),
    ],
)
def test_a_signal_stops_all_and_resume_goes_on(
    tmp_path: Path, expected: dict[str, str], number: signal.Signals, target: str
) -> None:
    launcher = start(tmp_path, *commands("processes"))
    wait_for_file(tmp_path, CHECKPOINTS, launcher)
    running = wait_for_ranks(launcher, 2)
    (launcher if target == "launcher" else running[1]).send_signal(number)
    printed = end(launcher, 128 + (number if target == "launcher" else signal.SIGTERM))
    assert printed.count("`lenext resume runs/many` continues") == 1
    assert not any(process.is_running() for process in running.values())
    run(tmp_path, *LENEXT, "resume", "runs/many", "--processes", "2")
    assert outcome(tmp_path / "runs" / "many") == expected


@pytest.mark.slow
def test_the_processes_of_a_killed_launcher_end_and_leave_a_checkpoint(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    launcher = start(tmp_path, *commands("processes"))
    wait_for_file(tmp_path, CHECKPOINTS, launcher)
    running = wait_for_ranks(launcher, 2)
    launcher.kill()
    launcher.communicate()
    for process in running.values():
        process.wait(30)
    run(tmp_path, *LENEXT, "resume", "runs/many")
    assert outcome(tmp_path / "runs" / "many") == expected
