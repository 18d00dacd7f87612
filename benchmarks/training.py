"""Training throughput, side by side: python -m benchmarks.training [--large] [NETWORK ...].

Without --large: networks for small pictures against Lightning, fastai, Keras, the documents' loop and the limit. With
it: AlexNet, ResNet-18 and DenseNet as the documents have them, at 224 px from 32 px pictures, against the documents'
loop, over at least 20 batches of it.
"""

import sys
from math import prod

from benchmarks.contestants import LIMITS, MAKERS
from benchmarks.harness import race, report, spread
from lenext.training.recipes import COMPILING_PAYS

SMALL = {"lenet": 28, "resnet18_32px": 32, "convnext_patch4": 32, "vgg11_32px": 32, "densenet_32px": 32}
LARGE = {"alexnet_d2l": 224, "resnet18_d2l": 224, "densenet_d2l": 224}
IN_KERAS = ("lenet", "resnet18_32px")  # written out in its layers; JAX takes no torch network
PEERS = ("lightning", "fastai", "keras-torch", "keras-jax")
BATCH = 128
EPOCH = 50_000 / BATCH


def main(large: bool, wanted: list[str]) -> None:
    rows, ratios = [], {"peers": [], "documents": [], "limit": []}  # type: ignore[var-annotated]
    for network, size in (LARGE if large else SMALL).items():
        if wanted and network not in wanted:
            continue
        names = ("lenext", "documents") if large else (*MAKERS, *LIMITS)
        names = tuple(name for name in names if name != "lenext-compiled" or network in COMPILING_PAYS)
        names = tuple(name for name in names if name != "keras-jax" or network in IN_KERAS)
        contestants = {name: (name, network, str(size), str(BATCH)) for name in names}
        steps, rounds = (4, 5) if large else ((300, 7) if network == "lenet" else (4, 4))
        times = {
            name: spread(some) for name, some in race("benchmarks.contestants", contestants, steps, rounds).items()
        }
        mine = times["lenext-compiled" if "lenext-compiled" in times else "lenext"]["median"]
        for name, time in times.items():
            rows.append(
                {
                    "network": network,
                    "who": name,
                    "ms a step": 1e3 * time["median"],
                    "middle half": f"{1e3 * time['low']:.4g} to {1e3 * time['high']:.4g}",
                    "images/s": BATCH / time["median"],
                    "lenext is faster": time["median"] / mine,
                }
            )
            if large and name == "documents":
                rows[-1]["an epoch, extrapolated, min"] = time["median"] * EPOCH / 60
        for kind, who in (("peers", PEERS), ("documents", ("documents",)), ("limit", LIMITS)):
            there = [times[name]["median"] for name in who if name in times]
            if there:
                ratios[kind].append(min(there) / mine)
    figures = {
        f"{kind}: geometric mean of (best of them / lenext)": prod(some) ** (1 / len(some))
        for kind, some in ratios.items()
        if some
    }
    figures |= {f"{kind}, each": ", ".join(f"{one:.3f}" for one in some) for kind, some in ratios.items() if some}
    report("training-224px" if large else "training", rows, figures)


if __name__ == "__main__":
    names = [one for one in sys.argv[1:] if not one.startswith("--")]
    main("--large" in sys.argv, names)
