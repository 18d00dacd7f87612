"""What each part of the speedrun recipe buys: python -m benchmarks.ablation [SEEDS [DONE]].

The recipe with half of its epochs, without one of its parts, on 45,000 images of CIFAR-10; accuracies are of the
other 5,000 training images, so the test set has no say. Each training has one core, as many at a time as there are;
seconds are a core's, to be read against each other. More epochs tell how much accuracy a second buys at the end, and
with that what a part is worth in seconds: those that would be needed to be as good without it. What parts buy needs
all cores: a step with them and one without, in turn. Each training is noted in the file DONE as it ends, and not done
again where it is there.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Queue
from statistics import mean, median, variance
from typing import Any

import torch
from scipy.stats import t

import lenext
from benchmarks.harness import report
from lenext.models import create
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import events, sample_images
from lenext.training.recipe import Recipe
from lenext.training.recipes import NETWORKS, RECIPES
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import TrainingState

SPEEDRUN = RECIPES["speedrun"]
EPOCHS = SPEEDRUN["epochs"] // 2
WHOLE, LONGER = "the recipe", "two epochs more"
PARTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
    LONGER: {"epochs": EPOCHS + 2},
    "AdamW instead of Muon": {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.05, "momentum": 0.9},
    "weight norms not kept constant": {"keep_weight_norms": False},
    "five Newton-Schulz iterations": {"newton_schulz_steps": 5},
    "the first layer learns to the end": {"freeze_stem_after": 1.0},
    "one_cycle instead of the linear schedule": {"schedule": "one_cycle"},
    "batches of 2,000": {"batch_size": 2000, "learning_rate": 2 * SPEEDRUN["learning_rate"]},
    "one part: batch norm over 500": {"parts": 1},
    "Kaiming's initialization": {"initialization": "kaiming"},
    "no whitening: a first layer that learns to the end": {"whitening": False, "freeze_stem_after": 1.0},
    "random flips": {"flip": True},
    "no shift": {"shift": 0},
    "black shift_padding": {"shift_padding": "black"},
    "no label smoothing": {"label_smoothing": 0.0},
    "full-size images from the start": {"progressive_resizing": 1.0},
    "all samples in fewer epochs, the same number of steps": {
        "hardest_fraction": 1.0,
        "epochs": round(EPOCHS * SPEEDRUN["hardest_fraction"]),
    },
    "averaged weights": {"ema_decay": 0.98},
}
OPTIONS = ("whitening",)
"""These are of the network; the others are keys of the recipe."""


def train(name: str, seed: int) -> dict[str, Any]:
    """One training: seconds, accuracy with and without views."""
    torch.set_num_threads(1)
    part = PARTS[name]
    options = {key: value for key, value in part.items() if key in OPTIONS}
    changes = {key: value for key, value in part.items() if key not in OPTIONS}
    recipe = (
        Recipe()
        .with_keys(SPEEDRUN | {"epochs": EPOCHS})
        .with_keys(changes)
        .with_keys({"validation_fraction": 0.1, "seed": seed})
        .with_defaults()
    )
    data = split_by_recipe(lenext.load("cifar10"), recipe)
    held, settings = data.validation, resolve(recipe, data)
    assert held is not None
    torch.manual_seed(seed)
    network = create(NETWORKS["speedrun"], num_classes=10, **options)
    begun = time.process_time()
    state = TrainingState.begin(network, settings, partial(sample_images, data, settings.images))
    for _ in events(state, replace(data, validation=None), settings):
        pass
    took = time.process_time() - begun
    with_views, plain = (
        evaluate_split(state.trained, held, settings.images, state.compute, views).accuracy
        for views in (recipe.tta, "none")
    )
    return {"seconds": took, "accuracy": with_views, "plain": plain}


def step(parts: int, steps: int = 8) -> float:
    """Seconds of a step of whole images with all threads, the first ones left out."""
    recipe = (
        Recipe()
        .with_keys(SPEEDRUN | {"parts": parts, "progressive_resizing": 1.0, "train_samples": 10_000})
        .with_defaults()
    )
    data = split_by_recipe(lenext.load("cifar10"), recipe)
    settings = resolve(recipe, data)
    state = TrainingState.begin(create(NETWORKS["speedrun"], num_classes=10), settings)
    for number, _ in enumerate(events(state, data, settings)):
        if number == 2:
            begun = time.perf_counter()
        if number == 2 + steps:
            break
    return (time.perf_counter() - begun) / steps


def one(cores: "Queue[int]", noted: Path | None, name: str, seed: int) -> dict[str, Any]:
    """A training in a process of its own, on a core of its own; what was noted of it, where it is done already."""
    lines = noted.read_text().splitlines() if noted and noted.exists() else []
    there = [found for *what, found in map(json.loads, lines) if what == [name, seed]]
    if there:
        return dict(there[0])
    core = cores.get()
    try:
        command = [sys.executable, "-m", "benchmarks.ablation", "--one", name, str(seed), str(core)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    finally:
        cores.put(core)
    found = dict(json.loads(said.splitlines()[-1]))
    print(f"{name}, seed {seed}: {found}", flush=True)
    if noted:
        with noted.open("a") as file:
            file.write(json.dumps([name, seed, found]) + "\n")
    return found


def interval(found: Mapping[str, Sequence[Mapping[str, float]]]) -> float:
    """Half the 95 % interval of a part's difference to the whole, by the spread that the seeds' differences have in
    the mean over all parts; what it would be with three seeds of one part alone is known far worse."""
    seeds, whole = len(found[WHOLE]), found[WHOLE]
    if seeds == 1:
        return float("nan")
    differences = [
        [here["accuracy"] - there["accuracy"] for here, there in zip(some, whole, strict=True)]
        for name, some in found.items() if name != WHOLE
    ]  # fmt: skip
    spread = mean(map(variance, differences)) ** 0.5
    return float(t.ppf(0.975, (seeds - 1) * len(differences))) * spread / seeds**0.5


def main(seeds: int, noted: Path | None) -> None:
    times: dict[int, list[float]] = {1: [], SPEEDRUN["parts"]: []}
    for _ in range(5):
        for parts, some in times.items():
            some.append(step(parts))
    alone, shared = (median(some) for some in times.values())
    there = sorted(os.sched_getaffinity(0))
    cores: Queue[int] = Queue()
    for core in there:
        cores.put(core)
    jobs = [(name, seed) for seed in range(seeds) for name in PARTS]
    with ThreadPoolExecutor(len(there)) as pool:
        done = dict(zip(jobs, pool.map(lambda job: one(cores, noted, *job), jobs), strict=True))
    found = {name: [done[name, seed] for seed in range(seeds)] for name in PARTS}
    means = {name: {key: mean(each[key] for each in some) for key in some[0]} for name, some in found.items()}
    whole, longer = means[WHOLE], means[LONGER]
    slope = (longer["accuracy"] - whole["accuracy"]) / (longer["seconds"] - whole["seconds"])
    rows = [
        {
            "change": name,
            "validation, %": 100 * here["accuracy"],
            "points": round(100 * (here["accuracy"] - whole["accuracy"]), 4),
            "one view alone, %": 100 * here["plain"],
            "core seconds": here["seconds"],
            "gain, core seconds": here["seconds"] - whole["seconds"] + (whole["accuracy"] - here["accuracy"]) / slope,
        }
        for name, here in means.items()
    ]
    report(
        "ablation",
        rows,
        {
            "seeds": seeds,
            "points, 95 % interval: plus or minus": 100 * interval(found),
            "points for 100 core seconds more at the end": 1e4 * slope,
            f"a step of {SPEEDRUN['parts']} parts / of one network, all threads": shared / alone,
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        os.sched_setaffinity(0, {int(sys.argv[4])})
        print(json.dumps(train(sys.argv[2], int(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 1, Path(sys.argv[2]) if sys.argv[2:] else None)
