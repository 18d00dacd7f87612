"""Peak memory of training, side by side: python -m benchmarks.memory."""

from typing import Any

from benchmarks.harness import Contestant, report

CASES = {
    "lenet": (28, ("lenext", "documents", "lightning", "fastai")),
    "resnet18_32px": (32, ("lenext", "documents", "lightning", "fastai")),
    "resnet18_d2l": (224, ("lenext", "documents")),
    "alexnet_d2l": (224, ("lenext", "documents")),
}
BATCH, STEPS, ROUNDS = 128, 4, 1  # what is needed at the most is needed in the first steps already


def main() -> None:
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for network, (size, names) in CASES.items():
        found: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in names:
                one = Contestant("benchmarks.contestants", name, network, str(size), str(BATCH))
                if one.answer("ready") is not None and one.measure(STEPS) is not None:
                    found[name].append(one.memory())
                one.close()
        least = {name: sorted(some)[len(some) // 2] for name, some in found.items() if some}
        for name, size_mb in least.items():
            rows.append(
                {"network": network, "contestant": name, "MB": size_mb, "memory / lenext's": size_mb / least["lenext"]}
            )
        others = [one for name, one in least.items() if name != "lenext"]
        figures[f"{network}: (least of the others / lenext)"] = min(others) / least["lenext"]
    report("memory", rows, figures)


if __name__ == "__main__":
    main()
