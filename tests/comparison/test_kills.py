"""Races and searches that are killed again and again lose and duplicate nothing."""

import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from os import kill
from pathlib import Path
from random import Random

import pytest

from tests.comparison.test_race import figures
from tests.recovery.fork_server import ForkServer

KILLS = 20


def kill_repeatedly(fork_server: ForkServer, arguments: list[object], place: Path, seconds: Callable[[], float]) -> int:
    """Start the command and kill it after a while, many times; then let it end. Returns how many kills hit it."""
    kills = 0
    for _ in range(10 * KILLS):
        if kills == KILLS:
            break
        number = fork_server.start(*arguments, cwd=place)
        time.sleep(seconds())
        with suppress(ProcessLookupError):
            kill(number, signal.SIGKILL)
        ended = fork_server.wait(number)
        kills += ended == -signal.SIGKILL
        if ended == 0:
            break
    assert fork_server.run(*arguments, cwd=place) == 0, (place / "err").read_text()
    return kills


@pytest.mark.slow
def test_a_race(fork_server: ForkServer, tmp_path: Path) -> None:
    options = ("--epochs", 12, "--train-samples", 600, "--seeds", 3, "--data", "digits", "--runs-dir")
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    assert fork_server.run("compare", "lenet", "lenet5", *options, calm, cwd=tmp_path) == 0
    draw = Random(0)
    kills = kill_repeatedly(
        fork_server, ["compare", "lenet", "lenet5", *options, rough], tmp_path, lambda: draw.uniform(0.05, 1.5)
    )
    assert kills >= KILLS // 2  # a fast machine ends the race before the last of them
    (calm_folder,), (rough_folder,) = (list(folder.glob("race-*")) for folder in (calm, rough))
    assert figures(calm_folder, "race.csv") == figures(rough_folder, "race.csv")
    trials = [f"{name}-seed{seed}" for name in ("lenet", "lenet5") for seed in range(3)]
    assert sorted(path.parent.name for path in rough_folder.glob("*/results.json")) == trials
    for name in trials:
        calm_weights, rough_weights = (
            (folder / name / "weights" / "best.safetensors").read_bytes() for folder in (calm_folder, rough_folder)
        )
        assert calm_weights == rough_weights


@pytest.mark.slow
def test_a_search(fork_server: ForkServer, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    draw, trials = Random(1), 8
    command: list[object] = [
        "vary", "lenet", "--search", "optuna", "--trials", trials, "--option", "learning_rate=1e-4..1e-1", "--option",
        "activation=relu,tanh", "--epochs", 10, "--train-samples", 600, "--runs-dir", tmp_path / "runs",
    ]  # fmt: skip
    kills = kill_repeatedly(fork_server, command, tmp_path, lambda: draw.uniform(0.3, 2.0))
    assert kills >= KILLS // 2  # each kill finds less to do
    (folder,) = (tmp_path / "runs").glob("search-*")
    with sqlite3.connect(folder / "study.db") as database:
        states = Counter(state for (state,) in database.execute("SELECT state FROM trials"))
        values = dict(database.execute(
            "SELECT number, value FROM trials JOIN trial_values USING (trial_id) WHERE state = 'COMPLETE'"
        ).fetchall())  # fmt: skip
    assert sum(states.values()) == trials
    assert set(states) <= {"COMPLETE", "PRUNED"}
    rows = figures(folder, "search.csv")
    assert len(rows) == states["COMPLETE"] == len(values)
    for row in rows:
        number = int(row["contestant"].partition(":")[0])
        assert float(row["validation"]) == pytest.approx(values[number])
    assert sorted(path.name for path in folder.glob("trial-*")) == [f"trial-{at:04d}" for at in range(trials)]


@pytest.mark.slow
def test_two_processes_at_once(fork_server: ForkServer, tmp_path: Path) -> None:
    """Two processes share the trials: each trial is trained by one of them."""
    command: list[object] = [
        "vary", "lenet", "--option", "activation=relu,tanh", "--option", "pooling=max,average", "--epochs", 4,
        "--train-samples", 600, "--runs-dir", tmp_path / "runs",
    ]  # fmt: skip
    places = [tmp_path / "a", tmp_path / "b"]
    numbers = []
    for place in places:
        place.mkdir()
        numbers.append(fork_server.start(*command, cwd=place))
    assert [fork_server.wait(number) for number in numbers] == [0, 0]
    outputs = [(place / "out").read_text() for place in places]
    done = [len(re.findall(r"of training(?:; about .* left)?$", text, re.MULTILINE)) for text in outputs]
    assert sum(done) == 4
    (folder,) = (tmp_path / "runs").glob("vary-*")
    assert len(list(folder.glob("*/results.json"))) == 4
