"""The runs that tests of recovery train, and the comparison of their outcomes."""

import hashlib
import json
from pathlib import Path

import numpy as np

from lenext.runs.folder import Run

MORE = ("--train-samples", 200, "--checkpoint-minutes", 1e-9, "--threads", 1)
"""Arguments of all runs: few digits, and a checkpoint at every step."""

RUNS: dict[str, tuple[int, tuple[object, ...]]] = {
    "lenet": (8, ("lenet", "--batch-size", 32)),
    "lenet-accumulating": (8, ("lenet5", "--batch-size", 16, "--accumulate-batches", 3, "--optimizer", "muon")),
    "batch-norm": (6, ("nin_32px", "--option", "width=0.25", "--batch-size", 32, "--image-size", 28)),
    "mixup-and-ema": (
        8,
        ("lenet", "--batch-size", 32, "--mixup", 0.4, "--cutmix", 1, "--ema-decay", 0.9, "--random-erasing", 0.5,
         "--evaluate-training"),
    ),
    "dropout": (6, ("alexnet_32px", "--option", "width=0.125", "--batch-size", 32, "--image-size", 28)),
    "speedrun": (
        6,
        ("airbench94", "--recipe", "speedrun", "--option", "width=0.125", "--batch-size", 32, "--flip", "alternating",
         "--validation-fraction", 0.2),
    ),
    "frozen": (
        10,
        ("alexnet_32px", "--option", "width=0.125", "--batch-size", 32, "--image-size", 28, "--freeze", "backbone"),
    ),
    "early-stopping": (40, ("lenet", "--batch-size", 32, "--early-stopping", 3, "--balanced-sampling")),
}  # fmt: skip
"""Epochs and arguments of each run."""


def command(name: str, run: str, epochs: int = 0) -> tuple[object, ...]:
    """Return the arguments that start one of RUNS as the folder runs/`run`."""
    usual, arguments = RUNS[name]
    return ("train", *arguments, *MORE, "--epochs", epochs or usual, "--name", run)


def outcome(path: Path) -> dict[str, str]:
    """Return everything that a finished run consists of, except for times."""
    run = Run(path)
    parts = {which: hashlib.sha256(run.weights(which).read_bytes()).hexdigest() for which in ("best", "last")}
    parts["predictions"] = (path / "predictions.csv").read_text()
    parts["records"] = "\n".join(
        ",".join(cell for at, cell in enumerate(line.split(",")) if at != 1)
        for line in (path / "results.csv").read_text().splitlines()
    )
    parts["test"] = json.dumps(run.results["test"]) + str(run.results["test_reads"]) + str(run.results["best_epoch"])
    return parts


def damage(path: Path, draw: np.random.Generator) -> None:
    """Flip a bit of a file, truncate it, or zero one of its pages."""
    content = bytearray(path.read_bytes())
    place = int(draw.integers(0, len(content)))
    match int(draw.integers(0, 3)):
        case 0:
            content[place] ^= 1 << int(draw.integers(0, 8))
        case 1:
            del content[place:]
        case _:
            start = place // 4096 * 4096
            page = content[start : start + 4096]
            content[start : start + 4096] = bytes(len(page)) if any(page) else b"\xff" * len(page)
    path.write_bytes(content)
