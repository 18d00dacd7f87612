"""int8: the weights and activations of a network in 8 bits, kept only if it stays as good and becomes faster here.

The network alone is quantized, never its preprocessing: whole numbers of 22 bits do not fit into 8. Weights take 7 of
the 8 bits: processors without VNNI add pairs of products in 16 bits, which 8 bits would exceed, so that a file would
answer otherwise there than where it was made.
"""

import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data.dataset import Split
from lenext.data.splitting import draw_samples
from lenext.exporting.engines import Session, open_onnxruntime, open_openvino
from lenext.exporting.extras import is_installed, require
from lenext.exporting.onnx_file import serialize
from lenext.foundation.device import cpu_has_bf16
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.intervals import format_interval

CALIBRATION_IMAGES, BATCH = 256, 32
MAX_LOSS = 0.005  # of accuracy
LATENCY_BATCHES, ROUNDS = (1, 64), 9
MIN_ROUND_SECONDS = 0.02
QUANTIZED = ("Conv", "Gemm", "MatMul")

Array = NDArray[Any]
Name = TypeVar("Name")


@dataclass(frozen=True)
class Gate:
    """The figures that decide whether an int8 model is kept.

    Attributes:
        samples: Number of validation images.
        accuracy_before: With fp32.
        accuracy_after: With int8.
        seconds: Of a batch, by engine and number of images, such as `int8, 64`.
        bytes_before: Size of the fp32 model.
        bytes_after: Size of the int8 model.
    """

    samples: int
    accuracy_before: float
    accuracy_after: float
    seconds: Mapping[str, float]
    bytes_before: int
    bytes_after: int

    @property
    def time_ratio(self) -> float:
        """The time of int8 by that of fp32, the geometric mean over the batches."""
        logs = [math.log(self.seconds[f"int8, {size}"] / self.seconds[f"fp32, {size}"]) for size in LATENCY_BATCHES]
        return math.exp(sum(logs) / len(logs))

    @property
    def refusal(self) -> str:
        """Why it is not kept; empty if it is."""
        loss = self.accuracy_before - self.accuracy_after
        if loss > MAX_LOSS:
            return f"it loses {100 * loss:.2f} points of accuracy, more than {100 * MAX_LOSS:g}"
        if self.time_ratio >= 1:
            return f"it takes {self.time_ratio:.2f} times as long as fp32 on this machine"
        return ""

    def describe(self) -> str:
        """Return it in a line."""
        times = ", ".join(f"{1e3 * value:.3g} ms for {name}" for name, value in self.seconds.items())
        return (
            f"accuracy on {self.samples:,} validation images {self.accuracy_before:.2%} in fp32, "
            f"{self.accuracy_after:.2%} in int8 ({format_interval(self.accuracy_after, self.samples)}); "
            f"{self.bytes_before / 1e6:,.2f} MB became {self.bytes_after / 1e6:,.2f} MB; {times} (engine, images)"
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"int8": asdict(self) | {"time_ratio": self.time_ratio}}


class Calibration:
    """Batches of stored training images, as ONNX Runtime's quantizer asks for them, one call each."""

    def __init__(self, split: Split, name: str) -> None:
        self.name, self.batches = name, stored_batches(draw_samples(split, CALIBRATION_IMAGES))

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch}


def stored_batches(split: Split) -> Iterator[Array]:
    """Yield the stored pixels (N, C, H, W) of a split, batch by batch."""
    for rows in torch.arange(len(split)).split(BATCH):
        yield split.images[rows].numpy()


def quantize(model: Any, training: Split) -> Any:
    """Return an ONNX model whose network computes in int8, calibrated on training images.

    Args:
        model: From pixels to probabilities; the names of its network's nodes begin with `network/`.
        training: The images whose activations give the ranges.
    """
    require("onnxruntime", "int8")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(Calibration, CalibrationDataReader):  # type: ignore[misc]
        pass

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, prepared, result = (str(Path(folder) / f"{name}.onnx") for name in ("source", "prepared", "result"))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = [
            node.name
            for node in onnx.load(prepared).graph.node
            if node.op_type in QUANTIZED and node.name.startswith("network/")
        ]
        if not nodes:  # the quantizer would take all of them, preprocessing included
            raise ConfigurationError("int8: the network has no convolution or dense layer to quantize")
        quantize_static(
            prepared, result, Reader(training, model.graph.input[0].name), quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nodes, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            reduce_range=True,
        )  # fmt: skip
        return onnx.load(result)


def measure_gate(before: Any, after: Any, validation: Split) -> Gate:
    """Measure accuracy and time of an fp32 and an int8 model, both from pixels, in turns."""
    contents = {"fp32": serialize(before), "int8": serialize(after)}
    sessions: dict[str, Session] = {name: open_onnxruntime(content) for name, content in contents.items()}
    accuracies = {name: measure_accuracy(session, validation) for name, session in sessions.items()}
    if is_installed("openvino") and cpu_has_bf16():
        sessions["bf16 by OpenVINO"] = open_openvino(contents["fp32"], "bf16")  # its pixels move, its time counts
    first = next(stored_batches(validation))
    seconds: dict[str, float] = {}
    for size in LATENCY_BATCHES:
        images = np.resize(first, (size, *first.shape[1:]))
        calls = {name: partial(session, images) for name, session in sessions.items()}
        seconds |= {f"{name}, {size}": median(times) for name, times in time_in_turns(calls).items()}
    return Gate(
        len(validation), accuracies["fp32"], accuracies["int8"], seconds, len(contents["fp32"]), len(contents["int8"])
    )


def measure_accuracy(session: Session, split: Split) -> float:
    """Return the share of a split's images that a session answers rightly."""
    answers = np.concatenate([session(batch)[0].argmax(1) for batch in stored_batches(split)])
    return float((answers == split.labels.numpy()).mean())


def time_in_turns(
    calls: Mapping[Name, Callable[[], object]], rounds: int = ROUNDS, min_seconds: float = MIN_ROUND_SECONDS
) -> dict[Name, list[float]]:
    """Return the seconds of each call, measured in turns, once a round; a round repeats it for `min_seconds`."""
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < min_seconds or not count:
                call()
                count += 1
            times[name].append((time.perf_counter() - start) / count)
    return times
