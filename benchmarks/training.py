"""Training throughput, side by side: python -m benchmarks.training [--large] [NETWORK ...].

Without --large: networks for small images against Lightning and fastai, as installed and as an expert sets them up,
Keras, the documents' loop, the bare step and the processor's peak. With it: AlexNet, ResNet-18 and DenseNet as the
documents have them, at 224 px from 32 px images, against the documents' loop, over at least 20 batches of it, and the
bare step. With names, those are measured anew and the others' rows are kept.
"""

import json
import sys
from collections.abc import Sequence
from math import prod
from typing import Any

from benchmarks.contestants import MAKERS, PEAK_SIDE
from benchmarks.harness import RESULTS, race, report, spread
from lenext.acceleration.compilation import MIN_SAMPLES
from lenext.inspection.summary import summarize
from lenext.models import create

SMALL = {
    "lenet": 28, "convnext_patch4_corrected": 32, "convnext_32px": 32, "googlenet_32px": 32, "densenet_32px": 32,
    "nin_32px": 32, "vgg11_32px": 32, "resnet18_32px": 32,
}  # fmt: skip
LARGE = {"alexnet_d2l": 224, "resnet18_d2l": 224, "densenet_d2l": 224}
IN_KERAS = ("lenet", "resnet18_32px")  # written out in its layers; JAX takes no torch network
COMPILED = ("convnext_patch4_corrected", "convnext_32px", "densenet_32px")  # others gain nothing by it on a CPU
BARE = ("last-autocast", "last-bf16")
KINDS = {
    "peers as installed": ("lightning", "fastai", "keras-torch", "keras-jax"),
    "peers by experts": ("lightning-expert", "lightning-expert-compiled", "fastai-expert"),
    "documents": ("documents",),
    "bare step": BARE,
}
BATCH = 128
EPOCH = 50_000 / BATCH
PASSES = 3  # multiply-adds of a training step, by those of the forward pass


def contestants(network: str, large: bool) -> Sequence[str]:
    """Who trains a network."""
    if large:
        return ("lenext", "documents", *BARE)
    names = [name for name in MAKERS if name not in ("lenext-compiled", "keras-jax", "lightning-expert-compiled")]
    if network in MIN_SAMPLES:
        names.append("lenext-compiled")
    if network in COMPILED:
        names.append("lightning-expert-compiled")
    if network in IN_KERAS:
        names.append("keras-jax")
    return (*names, *BARE)


def measure(network: str, size: int, large: bool) -> list[dict[str, Any]]:
    """A row a contestant."""
    running = {name: (name, network, str(size), str(BATCH)) for name in contestants(network, large)}
    steps, rounds = (4, 5) if large else ((150, 7) if network == "lenet" else (3, 5))
    found = race("benchmarks.contestants", running, steps, rounds)
    times = {name: spread(some) for name, some in found.items()}
    peak = times.pop("peak", None)
    mine = times["lenext"]["median"]
    made = create(network, num_classes=10)
    multiply_adds = PASSES * BATCH * summarize(made, (1 if network == "lenet" else 3, size, size)).multiply_adds
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
        if peak:
            row["share of peak"] = f"{multiply_adds / time['median'] / (PEAK_SIDE**3 / peak['median']):.1%}"
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
