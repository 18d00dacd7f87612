"""airbench94_muon.py, the record holder, trained once here: python -m benchmarks.airbench FILE SEED [--epochs N].

FILE is from github.com/KellerJordan/cifar10-airbench; it is not part of this project. On a CPU it is moved there by a
few replacements: the device, fp32 weights under bf16 autocast instead of fp16, a clock. Nothing else is changed. A last
line of JSON tells its accuracies and the seconds by its own clock, which leaves out what is measured between epochs.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

import lenext
from lenext.foundation.device import Compute
from lenext.inspection.summary import summarize
from lenext.workflows.budget import FORWARD_PASSES_PER_STEP

TO_CPU = {
    'torch.device("cuda")': 'torch.device("cpu")',
    "self.images.half()": "self.images.float()",
    "mod.half()": "mod.float()",
    "torch.cuda.Event(enable_timing=True)": "Clock()",
    "torch.cuda.synchronize()": "pass",
}
COMPILED = "@torch.compile\n"
"""Of 256 x 2,304 values at most: on a CPU it wins nothing and costs a compilation."""


class Clock:
    """The part of torch.cuda.Event that is used, for a CPU."""

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: "Clock") -> float:
        return 1e3 * (other.at - self.at)


class Normalize:
    """torchvision's, whose wheels do not fit every torch."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        return (images - self.mean.to(images)) / self.std.to(images)


def names_of(path: Path, on_cpu: bool) -> dict[str, Any]:
    """What the file defines."""
    code = path.read_text()
    replaced = {"import torchvision\n": "", "import torchvision.transforms as T\n": ""}
    if on_cpu:
        replaced |= TO_CPU | {COMPILED: ""}
    for old, new in replaced.items():
        if old not in code:
            raise SystemExit(f"{path}: it has no `{old.strip()}`; this is for the version of 2024-11")
        code = code.replace(old, new)
    names: dict[str, Any] = {"__name__": "airbench", "T": SimpleNamespace(Normalize=Normalize), "Clock": Clock}
    exec(compile(code, str(path), "exec"), names)
    return names


def write_data(folder: Path) -> None:
    """CIFAR-10 as the file keeps it for itself."""
    data = lenext.load("cifar10")
    (folder / "cifar10").mkdir()
    for part, split in (("train", data.train), ("test", data.test)):
        assert split is not None
        images = split.images
        assert isinstance(images, Tensor)
        content = {"images": images.permute(0, 2, 3, 1).contiguous(), "labels": split.labels, "classes": data.classes}
        torch.save(content, folder / "cifar10" / f"{part}.pt")


def main(path: Path, seed: int, epochs: int) -> None:
    on_cpu = not torch.cuda.is_available()
    names = names_of(path.resolve(), on_cpu)
    told: list[dict[str, Any]] = []

    def tell(variables: dict[str, Any], is_final_entry: bool) -> None:
        told.append({key: variables.get(key) for key in ("epoch", "val_acc", "tta_val_acc", "time_seconds")})
        print(json.dumps(told[-1]), file=sys.stderr, flush=True)
        if len(told) == epochs:
            raise StopIteration

    names["print_training_details"] = tell
    torch.manual_seed(seed)
    network = names["CifarNet"]().to(memory_format=torch.channels_last)
    macs = summarize(network.float().cpu(), (3, 32, 32)).multiply_adds
    if on_cpu:
        compute, plain = Compute.choose("cpu"), network.forward

        def autocast(*inputs: Any, **options: Any) -> Tensor:
            with compute.autocast():
                return plain(*inputs, **options)

        network.forward = autocast
    else:
        network = names["CifarNet"]().cuda().to(memory_format=torch.channels_last)
        network.compile(mode="max-autotune")
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        os.chdir(folder)
        try:
            if not on_cpu:
                names["main"]("warmup", network)
                told.clear()
                torch.manual_seed(seed)
            names["main"](0, network)
        except StopIteration:
            pass
        os.chdir("/")
    *before, last = told
    plain_accuracy = before[-1]["val_acc"] if before else None
    print(json.dumps({
        "accuracy": last["tta_val_acc"], "without views": plain_accuracy, "seconds": last["time_seconds"],
        "macs": FORWARD_PASSES_PER_STEP * macs * 50_000 * 8,
    }))  # fmt: skip


if __name__ == "__main__":
    given = sys.argv[3:]
    main(Path(sys.argv[1]), int(sys.argv[2]), int(given[1]) if given[:1] == ["--epochs"] else 0)
