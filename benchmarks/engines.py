"""Inference by engine, side by side: python -m benchmarks.engines [NETWORK ...].

For one image and for a batch, in turns in one process: torch (fp32, and bf16 where the processor has it), ONNX Runtime
fp32, OpenVINO fp32 and bf16. The row of what `--engine auto` picks is marked. With names, those are measured anew.
"""

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.harness import RESULTS, report, spread
from lenext.data.preprocessing import Preprocessing
from lenext.exporting.engines import Choice, EnginePrecision, Load, choose_engine, open_session
from lenext.exporting.onnx_file import export_network_alone
from lenext.exporting.quantization import time_in_turns
from lenext.foundation.device import Compute, cpu_has_bf16
from lenext.foundation.normalization import Normalization
from lenext.models import create, find_variant

NETWORKS = ("lenet", "convnext_patch4_corrected", "resnet18_32px", "resnet18", "densenet121", "convnext_tiny")
LARGE_BATCH = {224: 16}
ROUNDS, MIN_SECONDS = 7, 0.2


def by_torch(network: torch.nn.Module, images: np.ndarray, precision: str) -> Callable[[], object]:
    """Return a call of torch as lenext predicts: channels last."""
    compute = Compute.choose("cpu", precision)
    network = network.to(memory_format=compute.memory_format)  # type: ignore[call-overload]
    batch = compute.move_images(torch.from_numpy(images))

    def call() -> object:
        with torch.inference_mode(), compute.autocast():
            return network(batch)

    return call


def measure(name: str) -> list[dict[str, Any]]:
    """Return a row for each engine and batch."""
    variant = find_variant(name)
    channels, size = variant.parameters()["in_channels"].default, variant.image_size
    torch.manual_seed(0)
    network = create(name).eval()
    normalization = Normalization((0.5,) * channels, (0.25,) * channels)
    prepare = Preprocessing(channels, (size, size), "crop", (size, size), "interpolate", normalization)
    model = export_network_alone(network, prepare).SerializeToString()
    load = Load.measure(network, prepare)
    precisions: tuple[EnginePrecision, ...] = ("fp32", "bf16") if cpu_has_bf16() else ("fp32",)
    choices = [Choice("onnxruntime", "fp32"), *(Choice("openvino", each) for each in precisions)]
    sessions = {choice: open_session(model, choice) for choice in choices}
    rows = []
    for batch in (1, LARGE_BATCH.get(size, 64)):
        images = np.random.default_rng(0).standard_normal((batch, channels, size, size)).astype(np.float32)
        calls: dict[Choice, Callable[[], object]] = {
            Choice("torch", each): by_torch(network, images, each) for each in precisions
        }
        calls |= {choice: lambda session=session: session(images) for choice, session in sessions.items()}  # type: ignore[misc]  # noqa: B023
        times = time_in_turns(calls, ROUNDS, MIN_SECONDS)
        found = {choice: spread(some) for choice, some in times.items()}
        fastest = min(one["median"] for one in found.values())
        picked = choose_engine("auto", load, many=batch > 1, device="cpu")
        for choice, one in found.items():
            rows.append(
                {
                    "network": name,
                    "images": batch,
                    "engine": f"{choice.engine}, {choice.precision}",
                    "ms": 1e3 * one["median"],
                    "interquartile range": f"{1e3 * one['low']:.3g} to {1e3 * one['high']:.3g}",
                    "time / fastest": one["median"] / fastest,
                    "auto": "picked" if choice == picked else "",
                }
            )
    return rows


def main(names: list[str]) -> None:
    """Measure, and write the table."""
    kept = json.loads((RESULTS / "engines.json").read_text())["rows"] if names else []
    rows = [row for row in kept if row["network"] not in names]
    rows += [row for name in names or NETWORKS for row in measure(name)]
    rows.sort(key=lambda row: (NETWORKS.index(row["network"]), row["images"]))
    picked = [float(row["time / fastest"]) for row in rows if row["auto"]]
    many = [row for row in rows if row["images"] > 1]
    runtime = {row["network"]: row["ms"] for row in many if row["engine"] == "onnxruntime, fp32"}
    ratios = [runtime[row["network"]] / row["ms"] for row in many if row["auto"]]
    figures = {
        "what auto picks by the fastest, at most": max(picked),
        "many images, ONNX Runtime fp32 by what auto picks, geometric mean": math.exp(
            sum(map(math.log, ratios)) / len(ratios)
        ),
    }
    report("engines", rows, figures)


if __name__ == "__main__":
    main(sys.argv[1:])
