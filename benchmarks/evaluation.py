"""Measuring 10,000 images: python -m benchmarks.evaluation [NETWORK ...].

lenext against ONNX Runtime (the better of two batch sizes, fp32), eager mode in fp32 and torch.compile. All are given
the same images; lenext prepares them from uint8 within the time, the others find them prepared.
"""

import sys
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import torch

from benchmarks.contestants import Work, arrays, build, load
from benchmarks.harness import race, report, serve, spread
from lenext.foundation.timing import timed

NETWORKS = (
    "lenet", "alexnet_32px", "vgg11_32px", "nin_32px", "googlenet_32px", "resnet18_32px", "densenet_32px",
    "convnext_32px",
)  # fmt: skip
IMAGES = 10_000
ONNX = ("onnxruntime-64", "onnxruntime-256")
OTHERS = ("eager", "compiled")


def ours(network: str) -> Work:
    from lenext.acceleration.placement import place_network
    from lenext.data.preprocessing import Preprocessing
    from lenext.foundation.device import Compute
    from lenext.training.evaluation import evaluate_split

    data, compute = load(network), Compute.choose("cpu")
    assert data.test is not None
    prepare = Preprocessing.from_dataset(data, "auto", "interpolate", "standardize")
    model = place_network(build(network, data.shape[1]).eval(), compute)
    whole = data.test

    def work(thousands: int) -> float:
        test = whole.take(torch.arange(1_000 * thousands))
        return clocked(lambda: evaluate_split(model, test, prepare, compute))

    return work


def onnxruntime(network: str, batch: int) -> Work:
    import onnxruntime as ort

    images, _ = arrays(network, load(network).shape[1], IMAGES)
    model = build(network, images.shape[-1]).eval()
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            model, (images[:2],), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = images.numpy()

    def work(count: int) -> None:
        parts = [session.run(None, {"x": inputs[at : min(at + batch, count)]})[0] for at in range(0, count, batch)]
        np.concatenate(parts).argmax(1)

    return lambda thousands: clocked(lambda: work(1_000 * thousands))


def eager(network: str, *, compiled: bool) -> Work:
    images, _ = arrays(network, load(network).shape[1], IMAGES)
    model = build(network, images.shape[-1]).eval()
    run = torch.compile(model) if compiled else model

    def work(count: int) -> None:
        with torch.inference_mode():
            torch.cat([run(some) for some in images[:count].split(250)]).argmax(1)

    return lambda thousands: clocked(lambda: work(1_000 * thousands))


def clocked(work: Callable[[], object]) -> float:
    with timed("cpu") as timer:
        work()
    return timer.seconds


def main(wanted: list[str]) -> None:
    rows, ratios = [], {}
    for network in wanted or NETWORKS:
        contestants = {name: (name, network) for name in ("lenext", *ONNX, *OTHERS)}
        found = race("benchmarks.evaluation", contestants, IMAGES // 1_000, 3)
        times = {name: spread(some) for name, some in found.items()}
        mine = times["lenext"]["median"]
        best = min(times[name]["median"] for name in ONNX if name in times)
        ratios[network] = best / mine
        for name, time_ in times.items():
            if name in ONNX and time_["median"] > best:
                continue
            rows.append(
                {
                    "network": network,
                    "contestant": name,
                    "s": time_["median"],
                    "interquartile range": f"{time_['low']:.4g} to {time_['high']:.4g}",
                    "images/s": IMAGES / time_["median"],
                    "time / lenext's": time_["median"] / mine,
                }
            )
    figures = {
        "geometric mean of (ONNX Runtime / lenext)": prod(ratios.values()) ** (1 / len(ratios)),
        "least": min(ratios.values()),
    }
    report("evaluation", rows, figures)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("lenext", *ONNX, *OTHERS):
        who, network = sys.argv[1:3]
        if who == "lenext":
            serve(ours(network))
        elif who in ONNX:
            serve(onnxruntime(network, int(who.rpartition("-")[2])))
        else:
            serve(eager(network, compiled=who == "compiled"))
    else:
        main([one for one in sys.argv[1:] if not one.startswith("--")])
