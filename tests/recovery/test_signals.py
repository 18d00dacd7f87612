"""SIGTERM and Ctrl-C in every phase: none is missed, a checkpoint is there, and the run goes on to the same end."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from lenext.runs import checkpoint
from lenext.runs.folder import Run
from tests.recovery.fork_server import ForkServer
from tests.recovery.runs import command, outcome

PHASES = ("warm-up", "compilation", "training", "validation", "saving", "best", "test")


def wait_for(path: Path) -> None:
    """Until there is such a file, for a minute."""
    begun = time.perf_counter()
    while not path.exists():
        assert time.perf_counter() - begun < 60
        time.sleep(0.002)


def interrupted(fork_server: ForkServer, folder: Path, phase: str, after: float, number: int) -> tuple[int, float]:
    """Begin a run whose `phase` takes its time, signal it in there, and tell how it ended, and how long that took."""
    more = ("--compile", "yes") if phase == "compilation" else ()
    fault = ("slow", phase, 0.3 if phase in ("warm-up", "compilation", "test") else 0.02)
    child = fork_server.start(*command("lenet", "a", 3), *more, cwd=folder, fault=fault)
    wait_for(folder / "phase")
    time.sleep(after)
    asked = time.perf_counter()
    os.kill(child, number)
    return fork_server.wait(child), time.perf_counter() - asked


def check(fork_server: ForkServer, folder: Path, phase: str, after: float, number: int) -> None:
    code, _ = interrupted(fork_server, folder, phase, after, number)
    said = (folder / "err").read_text()
    run = Run(folder / "runs" / "a")
    assert code == 128 + number, said
    assert said.strip() == "stopped"
    if phase == "warm-up":  # before there is a run
        assert not run.path.exists()
        return
    assert f"`lenext resume runs/{run.path.name}` continues" in (folder / "out").read_text() or phase == "test"
    path, tree = checkpoint.load_newest(run.checkpoints, pytest.fail) or pytest.fail("no checkpoint")
    under = tree["state"]["progress"]
    assert f"epoch-{tree['state']['epoch']:05d}-step-{under['position']:07d}" == path.stem
    assert not list(run.path.rglob("*.tmp"))


def go_on(fork_server: ForkServer, folder: Path, phase: str) -> None:
    """Resume what there is, to the end."""
    if phase != "warm-up":
        assert fork_server.run("resume", "runs/a", cwd=folder) == 0, (folder / "err").read_text()


@pytest.fixture(scope="module")
def wanted(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("unbroken")
    assert fork_server.run(*command("lenet", "a", 3), cwd=folder) == 0
    return outcome(folder / "runs" / "a")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_each_phase(
    fork_server: ForkServer, tmp_path: Path, phase: str, number: int, wanted: dict[str, str]
) -> None:
    check(fork_server, tmp_path, phase, 0.01, number)
    go_on(fork_server, tmp_path, phase)
    if phase not in ("warm-up", "compilation"):  # whose recipe differs
        assert outcome(tmp_path / "runs" / "a") == wanted


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "count", [pytest.param(5, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.endurance)]
)
def test_sigterms_in_each_phase(fork_server: ForkServer, tmp_path: Path, phase: str, count: int) -> None:
    draw = np.random.default_rng(PHASES.index(phase))
    for attempt in range(count):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        check(fork_server, folder, phase, draw.uniform(0, 0.25), signal.SIGTERM)
        if attempt % 10 == 0:
            go_on(fork_server, folder, phase)
        shutil.rmtree(folder)


def test_a_second_signal_ends_at_once(fork_server: ForkServer, tmp_path: Path) -> None:
    child = fork_server.start(*command("lenet", "a", 3), cwd=tmp_path, fault=("slow", "training", 30))
    wait_for(tmp_path / "phase")
    begun = time.perf_counter()
    os.kill(child, signal.SIGINT)
    time.sleep(0.3)
    os.kill(child, signal.SIGINT)
    assert fork_server.wait(child) == 130
    assert time.perf_counter() - begun < 15
    assert fork_server.run("resume", "runs/a", cwd=tmp_path) == 0


def test_the_compilation_is_torchs_own_too(fork_server: ForkServer, tmp_path: Path) -> None:
    """A signal while torch really compiles: the step that it was for is done, and saved."""
    from lenext.acceleration.compilation import has_compiler

    if not has_compiler():
        pytest.skip("torch.compile needs a C++ compiler and Python's headers here")
    child = fork_server.start(*command("lenet", "a", 3), "--compile", "yes", cwd=tmp_path)
    run = Run(tmp_path / "runs" / "a")
    wait_for(run.path / "recipe.yaml")
    os.kill(child, signal.SIGTERM)
    assert fork_server.wait(child) == 143
    path, tree = checkpoint.load_newest(run.checkpoints, pytest.fail) or pytest.fail("no checkpoint")
    assert path.stem == "epoch-00000-step-0000001"
    assert tree["state"]["progress"]["position"] == 1


def test_a_terminal_that_is_closed_saves_too(fork_server: ForkServer, tmp_path: Path, wanted: dict[str, str]) -> None:
    check(fork_server, tmp_path, "training", 0.01, signal.SIGHUP)
    go_on(fork_server, tmp_path, "training")
    assert outcome(tmp_path / "runs" / "a") == wanted


def test_a_signal_that_is_ignored_stays_so(fork_server: ForkServer, tmp_path: Path) -> None:
    """As of a program that was started with nohup, or in the background of a script."""
    child = fork_server.start(*command("lenet", "a", 3), cwd=tmp_path, fault=("ignore", "SIGHUP"))
    wait_for(tmp_path / "runs" / "a" / "recipe.yaml")
    os.kill(child, signal.SIGHUP)
    assert fork_server.wait(child) == 0
