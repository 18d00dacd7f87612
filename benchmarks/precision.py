"""What bf16 costs in accuracy: python -m benchmarks.precision. The same seeds in fp32 and under bf16 autocast."""

import time

import torch

import lenext
from benchmarks.harness import report
from lenext.training.loop import events
from lenext.training.metrics import Record
from lenext.training.recipes import OF_NETWORKS
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import TrainingState

TASKS = {"lenet": ("mnist", {"epochs": 4}), "vgg11_32px": ("cifar10", {"epochs": 3, "train_samples": 5_000})}
SEEDS = (0, 1, 2)


def main() -> None:
    rows, figures = [], {}
    for network, (source, settings) in TASKS.items():
        whole = lenext.load(source)
        found: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for seed in SEEDS:
            for precision, some in found.items():
                own = OF_NETWORKS[network] | settings | {"seed": seed, "precision": precision}
                recipe = lenext.Recipe().with_keys(own).with_defaults()
                data = split_by_recipe(whole, recipe)
                torch.manual_seed(seed)
                resolved = resolve(recipe, data)
                net = lenext.create(network, in_channels=data.shape[0], num_classes=10)
                state = TrainingState.begin(net, resolved)
                begun = time.perf_counter()
                records = [event for event in events(state, data, resolved) if isinstance(event, Record)]
                taken = time.perf_counter() - begun
                accuracy = lenext.evaluate(state.trained, data, recipe).accuracy
                some.append(accuracy)
                rows.append(
                    {
                        "network": network, "seed": seed, "precision": precision, "test accuracy": accuracy,
                        "train loss": records[-1].train_loss, "s": taken,
                    }
                )  # fmt: skip
        means = {precision: sum(some) / len(some) for precision, some in found.items()}
        figures[f"{network}: mean of bf16 - mean of fp32, points"] = 100 * (means["bf16"] - means["fp32"])
        figures[f"{network}: fp32, spread over seeds, points"] = 100 * (max(found["fp32"]) - min(found["fp32"]))
    report("precision", rows, figures)


if __name__ == "__main__":
    main()
