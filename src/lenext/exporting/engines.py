"""Engines that run exported networks: ONNX Runtime and OpenVINO, beside torch.

An engine's network is an `nn.Module` from prepared images to logits, so that all that takes a network takes it. None of
them opens a connection or sends figures about its use.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.exporting.extras import is_installed, require
from lenext.exporting.onnx_file import export_network_alone, weights_digest
from lenext.foundation.device import cpu_has_bf16
from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.foundation.files import cache_folder, make_folder, read_regular, write_atomic
from lenext.inspection.summary import summarize

Engine = Literal["torch", "onnxruntime", "openvino", "auto"]
EnginePrecision = Literal["fp32", "bf16"]
Array = NDArray[Any]
Session = Callable[[Array], tuple[Array, Array]]
"""From an input to probabilities and logits."""

MAX_DIFFERENCE = 1e-4  # of a logit, relative to the largest, between torch and an engine in fp32
MAX_CACHED_BYTES = 2_000_000_000
TINY_MULTIPLY_ADDS = 2_000_000  # of one image; what starting an operator costs decides below


@dataclass(frozen=True)
class Choice:
    """An engine and the precision of its arithmetic."""

    engine: Literal["torch", "onnxruntime", "openvino"]
    precision: EnginePrecision

    def __str__(self) -> str:
        return f"{self.engine} {metadata.version(self.engine)}, {self.precision}"


def choose_engine(engine: Engine, multiply_adds: int, *, many: bool, device: str) -> Choice:
    """Resolve `auto` by what was measured (docs/benchmarks.md), never by timing.

    Args:
        engine: As asked for.
        multiply_adds: Of one image.
        many: Whether many images are measured at a time, rather than one.
        device: The device as asked for; engines other than torch compute on the CPU.

    Raises:
        ConfigurationError: The engine is not installed, or cannot compute on the device.
    """
    fast = "bf16" if cpu_has_bf16() else "fp32"
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if engine == "torch":
        return Choice("torch", fast)  # type: ignore[arg-type]
    if engine != "auto":
        require(engine, f"engine={engine}")
        if device not in ("auto", "cpu"):
            raise ConfigurationError(f"engine={engine}: it computes on the CPU; leave device={device} out")
        return Choice(engine, fast if engine == "openvino" else "fp32")  # type: ignore[arg-type]
    if not on_cpu:
        return Choice("torch", fast)  # type: ignore[arg-type]
    wanted: tuple[Choice, ...] = (Choice("openvino", fast), Choice("onnxruntime", "fp32"))  # type: ignore[arg-type]
    if multiply_adds < TINY_MULTIPLY_ADDS and not many:
        wanted = wanted[::-1]
    return next((choice for choice in wanted if is_installed(choice.engine)), Choice("torch", fast))  # type: ignore[arg-type]


def open_onnxruntime(model: bytes, threads: int | None = None) -> Session:
    """Return a session of ONNX Runtime on the CPU."""
    runtime = require("onnxruntime", "engine=onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(values: Array) -> tuple[Array, Array]:
        probabilities, logits = session.run(["probabilities", "logits"], {name: values})
        return probabilities, logits

    return run


def open_openvino(model: Any, precision: EnginePrecision = "fp32") -> Session:
    """Return a session of OpenVINO on the CPU.

    Args:
        model: The bytes of an ONNX model, or a model that OpenVINO has read.
        precision: Of the arithmetic. A model with its preprocessing needs fp32: in bf16 pixels move.
    """
    openvino = require("openvino", "engine=openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = core.compile_model(core.read_model(model) if isinstance(model, bytes) else model, "CPU", settings)
    request = compiled.create_infer_request()

    def run(values: Array) -> tuple[Array, Array]:
        request.infer([values], share_inputs=True)
        return request.get_tensor("probabilities").data.copy(), request.get_tensor("logits").data.copy()

    return run


class EngineNetwork(nn.Module):
    """A network that another engine computes: from prepared images (N, C, height, width) to logits (N, K).

    Args:
        session: From images to probabilities and logits.
        choice: The engine and its precision.
    """

    def __init__(self, session: Session, choice: Choice) -> None:
        super().__init__()
        self.session, self.choice = session, choice

    def forward(self, images: Tensor) -> Tensor:
        _, logits = self.session(images.detach().float().contiguous().numpy())
        return torch.from_numpy(np.ascontiguousarray(logits))


def open_engine(network: nn.Module, prepare: Preprocessing, engine: Engine, *, many: bool, device: str) -> nn.Module:
    """Return a network, or one that another engine computes, after both gave the same logits.

    Args:
        network: On the CPU.
        prepare: Its preprocessing.
        engine: Which engine.
        many: Whether many images come at a time.
        device: Where to compute, as asked for.

    Raises:
        ConfigurationError: The engine is not installed, cannot run the network, or gives other logits.
    """
    if engine == "torch":
        return network
    choice = choose_engine(engine, summarize(network, prepare.input_shape).multiply_adds, many=many, device=device)
    if choice.engine == "torch":
        return network
    model = cached_model(network, prepare)
    images = torch.rand(4, *prepare.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.cpu().float().eval()(images).numpy()
    check_same(open_session(model, Choice(choice.engine, "fp32")), images.numpy(), expected, str(choice))
    return EngineNetwork(open_session(model, choice), choice)


def open_session(model: bytes, choice: Choice) -> Session:
    """Return a session of an engine."""
    return open_openvino(model, choice.precision) if choice.engine == "openvino" else open_onnxruntime(model)


def check_same(session: Session, images: Array, expected: Array, name: str) -> None:
    """Raise ConfigurationError where an engine's logits in fp32 are not torch's."""
    _, logits = session(images)
    difference = float(np.abs(logits - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not difference <= MAX_DIFFERENCE:
        raise ConfigurationError(
            f"engine {name}: its logits differ from torch's by {difference:.1e} of the largest, more than "
            f"{MAX_DIFFERENCE:.0e}; use --engine torch"
        )


def cached_model(network: nn.Module, prepare: Preprocessing) -> bytes:
    """Return the ONNX model of a network alone; it is made once, and kept in the cache folder."""
    onnx = require("onnx", "engine")
    versions = [metadata.version(name) for name in ("torch", "onnx", "onnxscript", "lenext")]
    key = json.dumps([weights_digest(network), str(network), prepare.input_shape, versions])
    path = cache_folder() / "engines" / f"{hash_text(key)}.onnx"
    if path.is_file():
        content = read_regular(path, MAX_CACHED_BYTES)
        try:
            onnx.load_from_string(content)
        except Exception:
            content = b""
        if content:
            return content
    content = export_network_alone(network, prepare).SerializeToString()
    try:
        make_folder(path.parent)
        write_atomic(path, content)
    except (OSError, LenextError):
        pass  # the cache only saves time
    return content


def hash_text(text: str) -> str:
    """Return the first half of the SHA-256 of a text."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:32]


def versions_of_export() -> Mapping[str, str]:
    """Return the versions that made an exported file."""
    names = ("lenext", "torch", "onnx", "onnxscript", "onnxruntime", "openvino")
    return {name: metadata.version(name) for name in names if is_installed(name)}


def is_exported(path: str | Path) -> bool:
    """Return whether a name is that of an exported file."""
    return Path(path).suffix.lower() in (".onnx", ".xml", ".pt2")
