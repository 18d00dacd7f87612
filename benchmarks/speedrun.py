"""CIFAR-10 to 94 % against airbench94_muon, trained in turn in one run: python -m benchmarks.speedrun FILE [SEEDS].

FILE is airbench94_muon.py of github.com/KellerJordan/cifar10-airbench (see benchmarks.airbench). Every training is a
process of its own and takes all threads. Ours is `lenext train --recipe speedrun --data cifar10`: its seconds are those
of training, checkpoints included, and of measuring the test set, but not of fitting the whitening; the peer's are those
of its own clock, which count that, and leave out what it measures between epochs. Neither counts loading the data.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks.harness import report
from lenext.inspection.summary import summarize
from lenext.runs.folder import Run
from lenext.runs.weights import load, restore_network
from lenext.training.epoch_plan import images_of_epoch
from lenext.training.schedule import schedule_of_run
from lenext.workflows.budget import FORWARD_PASSES_PER_STEP


def theirs(file: Path, seed: int) -> dict[str, Any]:
    """One training of the peer."""
    command = [sys.executable, "-m", "benchmarks.airbench", str(file), str(seed)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def ours(seed: int) -> dict[str, Any]:
    """One training of ours, by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "lenext", "train", "--recipe", "speedrun", "--data", "cifar10", "--seed", str(seed),
            "--runs-dir", folder, "--name", "run",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run = Run(Path(folder) / "run")
        results, recipe = run.results, run.experiment.recipe
        tensors, description = load(run.weights("best"))
        network, prepare = restore_network(tensors, description, run.weights("best")), description.preprocessing
    macs, samples = 0, recipe.samples_per_epoch(50_000)
    schedule = schedule_of_run(recipe, 50_000)
    assert schedule is not None
    for epoch in range(1, recipe.epochs + 1):
        shape = images_of_epoch(prepare, schedule, epoch).input_shape
        macs += FORWARD_PASSES_PER_STEP * samples * summarize(network, shape).multiply_adds
    seconds = results["training_seconds"] + results["test_seconds"]
    return {"accuracy": results["test"]["accuracy"], "seconds": seconds, "macs": macs}


def row(who: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """A contestant's figures over its seeds."""
    spread = stdev if len(found) > 1 else (lambda _: 0.0)
    accuracies, times = ([one[key] for one in found] for key in ("accuracy", "seconds"))
    return {
        "contestant": who,
        "seeds": len(found),
        "test, %": f"{100 * mean(accuracies):.2f} ± {100 * spread(accuracies):.2f}",
        "each, %": ", ".join(f"{100 * one:.2f}" for one in accuracies),
        "seconds": f"{mean(times):.0f} ± {spread(times):.0f}",
        "multiply-adds of training": f"{found[0]['macs']:.3g}",
    }


def main(file: Path, seeds: int) -> None:
    contestants: dict[str, Callable[[int], dict[str, Any]]] = {"airbench94_muon": partial(theirs, file), "lenext": ours}
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in contestants}
    for seed in range(seeds):
        for who in list(contestants)[:: 1 if seed % 2 else -1]:  # who begins changes, as a machine's speed drifts
            found[who].append(contestants[who](seed))
            print(json.dumps(found[who][-1]), flush=True)
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(found["lenext"], found["airbench94_muon"], strict=True)]
    report(
        "speedrun" if not torch.cuda.is_available() else "speedrun-gpu",
        [row(who, some) for who, some in found.items()],
        {
            "lenext's accuracy, mean": mean(one["accuracy"] for one in found["lenext"]),
            "lenext's time / the peer's, pair by pair": ", ".join(f"{one:.3f}" for one in ratios),
            "mean of that": mean(ratios),
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 3)
