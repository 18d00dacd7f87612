"""Training throughput, side by side: python -m benchmarks.training [--large] [NETWORK ...].

Without --large: networks for small images against Lightning, fastai, Keras, the documents' loop and the limit. With
it: AlexNet, ResNet-18 and DenseNet as the documents have them, at 224 px from 32 px images, against the documents'
loop, over at least 20 batches of it, and the limit. With names, those are measured anew and the others' rows are kept.
"""

import json
import sys
from math import prod
from typing import Any

from benchmarks.contestants import LIMITS, MAKERS
from benchmarks.harness import RESULTS, race, report, spread
from lenext.acceleration.compilation import MIN_SAMPLES

SMALL = {"lenet": 28, "resnet18_32px": 32, "convnext_patch4": 32, "vgg11_32px": 32, "densenet_32px": 32}
LARGE = {"alexnet_d2l": 224, "resnet18_d2l": 224, "densenet_d2l": 224}
IN_KERAS = ("lenet", "resnet18_32px")  # written out in its layers; JAX takes no torch network
KINDS = {
    "peers": ("lightning", "fastai", "keras-torch", "keras-jax"),
    "documents": ("documents",),
    "limit": LIMITS,
}
BATCH = 128
EPOCH = 50_000 / BATCH


def measure(network: str, size: int, large: bool) -> list[dict[str, Any]]:
    """A row a contestant."""
    names = ("lenext", "documents", "last-autocast", "last-bf16") if large else (*MAKERS, *LIMITS)
    names = tuple(name for name in names if name != "lenext-compiled" or network in MIN_SAMPLES)
    names = tuple(name for name in names if name != "keras-jax" or network in IN_KERAS)
    contestants = {name: (name, network, str(size), str(BATCH)) for name in names}
    steps, rounds = (4, 5) if large else ((300, 7) if network == "lenet" else (4, 4))
    found = race("benchmarks.contestants", contestants, steps, rounds)
    times = {name: spread(some) for name, some in found.items()}
    mine = times["lenext-compiled" if "lenext-compiled" in times else "lenext"]["median"]
    rows = []
    for name, time in times.items():
        row = {
            "network": network,
            "contestant": name,
            "ms per step": 1e3 * time["median"],
            "interquartile range": f"{1e3 * time['low']:.4g} to {1e3 * time['high']:.4g}",
            "images/s": BATCH / time["median"],
            "time / lenext's": time["median"] / mine,
        }
        if large and name == "documents":
            row["an epoch, extrapolated, min"] = time["median"] * EPOCH / 60
        rows.append(row)
    return rows


def main(large: bool, wanted: list[str]) -> None:
    name, networks = ("training-224px", LARGE) if large else ("training", SMALL)
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text())["rows"] if wanted and path.exists() else []
    rows: list[dict[str, Any]] = []
    for network, size in networks.items():
        before = [row for row in kept if row["network"] == network]
        rows += measure(network, size, large) if not wanted or network in wanted else before
    figures: dict[str, Any] = {}
    for kind, who in KINDS.items():
        best = [
            min(
                (row["time / lenext's"] for row in rows if row["network"] == network and row["contestant"] in who),
                default=0,
            )
            for network in networks
        ]
        there = [one for one in best if one]
        if there:
            figures[f"{kind}: geometric mean of (best of them / lenext)"] = prod(there) ** (1 / len(there))
            figures[f"{kind}, each"] = ", ".join(f"{one:.3f}" for one in there)
    report(name, rows, figures)


if __name__ == "__main__":
    names = [one for one in sys.argv[1:] if not one.startswith("--")]
    main("--large" in sys.argv, names)
