"""Corrupted files of every format, read in separate, monitored processes (see `fuzz`)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.formats import ALL


def fuzz(folder: Path, seed: int, count: int, *names: str) -> None:
    """Read `count` corrupted files of each of these formats."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.fuzz", str(folder), str(seed), str(count), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count(f"{count} files") == len(names)


def test_a_few_of_each(tmp_path: Path) -> None:
    fuzz(tmp_path, 0, 25, *(name for name in ALL if name != "run"))


@pytest.mark.parametrize(
    ("name", "count"),
    [pytest.param(name, 30 if name == "run" else 500, marks=pytest.mark.slow) for name in ALL]
    + [pytest.param(name, 10_000, marks=pytest.mark.endurance) for name in ALL],
)
def test_many_of_each(tmp_path: Path, name: str, count: int) -> None:
    fuzz(tmp_path, count, count, name)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["pickle-2", "pickle-4"])
def test_100_000_pickles(tmp_path: Path, name: str, seed: int) -> None:
    """12,500 of each of eight."""
    fuzz(tmp_path, 50 + seed, 12_500, name)
