"""Start trainings in several processes, and find, kill and stop these."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

LENEXT = [sys.executable, "-m", "lenext"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--monitor-interval", "0.1"]
SECONDS = 240
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")} | {
    "PYTHONWARNINGS": "ignore"  # those of torchrun's own start
}


def run(folder: Path, *words: str, expected: int = 0) -> str:
    """Run a command to its end, and return all that it prints."""
    done = subprocess.run(
        words, cwd=folder, env=ENVIRONMENT, text=True, timeout=SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == expected, done.stdout[-3000:]
    return done.stdout


def train(folder: Path, name: str, words: Sequence[str], processes: int = 1) -> Path:
    """Train in this many processes, and return the folder of the run."""
    many = ["--processes", str(processes)] if processes > 1 else []
    run(folder, *LENEXT, "train", *words, "--name", name, *many)
    return folder / "runs" / name


def outcome(run: Path) -> dict[str, str]:
    """Return what must not depend on the processes: weights, predictions, records without their seconds."""
    kept = ("weights/best.safetensors", "weights/last.safetensors", "predictions.csv")
    hashes = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in kept}
    lines = [line.split(",") for line in (run / "results.csv").read_text().splitlines()]
    return hashes | {"records": "\n".join(",".join(line[:1] + line[2:]) for line in lines)}


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def ranks(launcher: "subprocess.Popen[str]") -> dict[int, psutil.Process]:
    """Return the processes of a training, by rank."""
    found = {}
    for process in psutil.Process(launcher.pid).children(recursive=True):
        try:
            rank, words = process.environ().get("RANK"), process.cmdline()
        except psutil.Error:
            continue
        if rank is not None and "lenext" in words:
            found[int(rank)] = process
    return found


def wait_for_ranks(
    launcher: "subprocess.Popen[str]", count: int, other_than: Sequence[int] = ()
) -> dict[int, psutil.Process]:
    """Wait until so many processes of a training run, of which none has one of these numbers."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and launcher.poll() is None:
        running = ranks(launcher)
        if len(running) == count and not {process.pid for process in running.values()} & set(other_than):
            return running
        time.sleep(0.02)
    raise AssertionError(f"the processes did not come: {launcher.poll()}, {launcher.stdout and launcher.stdout.read()}")


def wait_for_file(folder: Path, pattern: str, launcher: "subprocess.Popen[str]") -> None:
    """Wait until a file of this pattern is there."""
    until = time.monotonic() + SECONDS
    while not list(folder.glob(pattern)):
        assert time.monotonic() < until
        assert launcher.poll() is None, launcher.stdout and launcher.stdout.read()
        time.sleep(0.02)


def end(launcher: "subprocess.Popen[str]", expected: int = 0) -> str:
    """Wait for the end of a command, and return what it printed."""
    printed, _ = launcher.communicate(timeout=SECONDS)
    assert launcher.returncode == expected, printed[-3000:]
    return printed
