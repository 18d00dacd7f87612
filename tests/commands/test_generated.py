"""Generated command lines: 150 in the slow tests, 10,000 as an endurance test."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_lines(folder: Path, seed: int, count: int) -> None:
    command = [sys.executable, "-m", "tests.commands.generated", str(folder), str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"{count} command lines" in done.stdout


@pytest.mark.slow
def test_150_command_lines(tmp_path: Path) -> None:
    run_lines(tmp_path, 0, 150)


@pytest.mark.endurance
@pytest.mark.parametrize("seed", range(100, 110))
def test_ten_thousand_command_lines(seed: int, tmp_path: Path) -> None:
    run_lines(tmp_path, seed, 1_000)
