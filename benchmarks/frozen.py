"""Training the head of a frozen backbone, with and without stored features: python -m benchmarks.frozen FOLDER.

ResNet-18 at 224 px, 20 epochs of batches of 32, on a folder of photographs; both trainings in turn, in one process,
from the same weights. Random weights: the time does not depend on them.
"""

import sys
import time
from typing import Any

import torch

import lenext
from benchmarks.harness import report, spread
from lenext.models.pretrained import freeze

EPOCHS, ROUNDS = 20, 2
VIEWS = {"stored, 2 views": "auto", "stored, 5 views": 5, "computed in every step": 0}


def seconds_of_training(data: lenext.Dataset, views: Any) -> tuple[float, float]:
    """The seconds of a training, and its last training loss."""
    torch.manual_seed(0)
    network = lenext.create("resnet18", num_classes=len(data.classes))
    freeze(network, ["backbone"])
    recipe = lenext.Recipe(image_size=224, epochs=EPOCHS, batch_size=32, random_crop=0.5, feature_views=views)
    begun = time.perf_counter()
    records = list(lenext.fit(network, data, recipe))
    return time.perf_counter() - begun, records[-1].train_loss


def main(folder: str) -> None:
    """Measure, and write the table."""
    data = lenext.load(folder)
    times: dict[str, list[float]] = {name: [] for name in VIEWS}
    losses: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, views in VIEWS.items():
            seconds, losses[name] = seconds_of_training(data, views)
            times[name].append(seconds)
    found = {name: spread(some) for name, some in times.items()}
    whole = found["computed in every step"]["median"]
    rows = [
        {
            "features": name,
            "seconds": one["median"],
            "interquartile range": f"{one['low']:.3g} to {one['high']:.3g}",
            "computed in every step / this": whole / one["median"],
            "last training loss": losses[name],
        }
        for name, one in found.items()
    ]
    report("frozen", rows, {"photographs": sum(map(len, data.splits().values())), "epochs": EPOCHS})


if __name__ == "__main__":
    main(sys.argv[1])
