"""Killed without warning, again and again: the run ends with the bits that it has when it is left alone."""

import os
import signal
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from lenext.runs import checkpoint
from lenext.runs.folder import Run
from tests.recovery.fork_server import ForkServer
from tests.recovery.runs import RUNS, command, damage, outcome


def unbroken(fork_server: ForkServer, folder: Path, name: str) -> tuple[dict[str, str], float]:
    """What a run comes to when nothing happens to it, and in how many seconds."""
    begun = time.perf_counter()
    assert fork_server.run(*command(name, "unbroken"), cwd=folder) == 0, (folder / "err").read_text()
    return outcome(folder / "runs" / "unbroken"), time.perf_counter() - begun


class Killer:
    """Starts and resumes a run until it ends, killing it at random moments, and counts."""

    def __init__(self, fork_server: ForkServer, folder: Path, seed: int) -> None:
        self.fork_server, self.folder, self.draw = fork_server, folder, np.random.default_rng(seed)
        self.kills = self.damaged = self.during_training = 0

    def finish(self, name: str, run: Path, most: int, within: float) -> None:
        """Kill it up to `most` times, each within so many seconds of its start; then let it end."""
        for attempt in range(most + 1):
            path = Run(run)
            resumed = (run / "recipe.yaml").exists()
            whole = self.newest_good(path) if resumed else None
            verb = ("resume", run) if resumed else command(name, run.name)
            log_before = len((run / "train.log").read_text()) if resumed and (run / "train.log").exists() else 0
            number = self.fork_server.start(*verb, cwd=self.folder)
            if attempt < most:
                time.sleep(self.draw.uniform(0, within))
                os.kill(number, signal.SIGKILL)
            code = self.fork_server.wait(number)
            assert code in (0, -signal.SIGKILL), (self.folder / "err").read_text()
            if whole:
                self.check_place(path, whole, log_before)
            if code == 0:
                return
            self.kills += 1
            there = checkpoint.list_checkpoints(path.checkpoints)
            self.during_training += len(there) > 0
            if len(there) > 1 and self.damaged < self.kills / 4:
                damage(there[0], self.draw)
                self.damaged += 1
            if not (run / "recipe.yaml").exists() and run.exists():  # killed before it was a run
                run.rename(run.with_name(f"{run.name}-nothing-{self.kills}"))

    def newest_good(self, run: Run) -> Path | None:
        """The newest valid checkpoint."""
        for path in checkpoint.list_checkpoints(run.checkpoints):
            try:
                checkpoint.load(path)
            except Exception:
                continue
            return path
        return None

    def check_place(self, run: Run, newest: Path, before: int) -> None:
        """It went on from the newest good checkpoint, so that no more than the steps since then were done again."""
        said = (run.path / "train.log").read_text()[before:]
        _, epoch, _, step = newest.stem.split("-")
        if "resumed in" in said:  # it lived that long
            assert f"resumed in epoch {int(epoch) + 1} of" in said
            assert f"after {int(step)} steps" in said


def endure(fork_server: ForkServer, folder: Path, name: str, kills: int, seed: int) -> Killer:
    """Run this again and again until so many kills have been survived, each time to the same end as unbroken."""
    (folder / "unbroken").mkdir()
    wanted, took = unbroken(fork_server, folder / "unbroken", name)
    killer = Killer(fork_server, folder, seed)
    for number in count():
        run = folder / "runs" / f"{name}-{number}"
        killer.finish(name, run, most=min(20, kills - killer.kills), within=0.9 * took)
        assert outcome(run) == wanted, name
        if killer.kills >= kills:
            return killer
    raise AssertionError


@pytest.mark.slow
def test_a_few_kills(fork_server: ForkServer, tmp_path: Path) -> None:
    killer = endure(fork_server, tmp_path, "lenet", 2, seed=1)
    assert killer.kills >= 2


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(
    "kills", [pytest.param(6, marks=pytest.mark.slow), pytest.param(34, marks=pytest.mark.endurance)]
)
def test_kills_of_each_run(fork_server: ForkServer, tmp_path: Path, name: str, kills: int) -> None:
    """6 in the slow tests, 34 as an endurance test."""
    killer = endure(fork_server, tmp_path, name, kills, seed=0)
    assert killer.kills >= kills
    assert killer.damaged >= kills // 4 - 1
    assert killer.during_training >= kills // 3


@pytest.mark.parametrize("name", ["lenet", "early-stopping"])
def test_killed_between_the_last_save_and_the_exit(fork_server: ForkServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "unbroken").mkdir()
    wanted, _ = unbroken(fork_server, tmp_path / "unbroken", name)
    epochs, per_epoch = len(Run(tmp_path / "unbroken" / "runs" / "unbroken").records), 7
    assert (
        fork_server.run(*command(name, "a"), cwd=tmp_path, fault=("die_after_save", epochs * per_epoch))
        == -signal.SIGKILL
    )
    assert not (tmp_path / "runs" / "a" / "results.json").exists()
    assert fork_server.run("resume", "runs/a", cwd=tmp_path) == 0, (tmp_path / "err").read_text()
    assert outcome(tmp_path / "runs" / "a") == wanted
