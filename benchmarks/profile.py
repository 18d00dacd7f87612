"""Where a training step of lenext spends its time, beside the bare step: python -m benchmarks.profile."""

from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.contestants import limit
from benchmarks.contestants import ours as of_lenext
from benchmarks.harness import report

CASES = {"lenet": (28, 300), "vgg11_32px": (32, 8), "alexnet_d2l": (224, 6), "resnet18_d2l": (224, 4)}
BATCH, MOST = 128, 8  # operations that are shown


def main() -> None:
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for network, (size, steps) in CASES.items():
        ours = of_lenext(network, size, BATCH)
        bare = limit("last-bf16", network, size, BATCH)
        ours(steps)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            ours(steps)
        spent = {one.key: one.self_cpu_time_total / steps / 1e3 for one in seen.key_averages()}
        whole = sum(spent.values())
        for name, time in sorted(spent.items(), key=lambda pair: -pair[1])[:MOST]:
            rows.append({"network": network, "operation": name, "ms per step": time, "share": f"{time / whole:.1%}"})
        arithmetic = sum(time for name, time in spent.items() if any(word in name for word in ARITHMETIC))
        figures[f"{network}: convolutions and dense layers, share of the step"] = arithmetic / whole
        bare(steps)
        figures[f"{network}: bare step, ms"] = 1e3 * bare(steps)
        figures[f"{network}: lenext, ms"] = 1e3 * ours(steps)
    report("profile", rows, figures)


ARITHMETIC = ("conv", "addmm", "::mm", "linear")


if __name__ == "__main__":
    main()
