"""Engines that run exported networks: ONNX Runtime and OpenVINO, beside torch.

An engine's network is an `nn.Module` from prepared images to logits, so that all that takes a network takes it. None of
them opens a connection or sends figures about its use.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.exporting.extras import is_installed, require, version_of
from lenext.exporting.onnx_file import export_network_alone, serialize, weights_digest
from lenext.foundation.device import cpu_has_bf16, find_device
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import cache_folder, make_folder, read_regular, write_atomic
from lenext.inspection.summary import summarize

Engine = Literal["torch", "onnxruntime", "openvino", "auto"]
EnginePrecision = Literal["fp32", "bf16"]
Array = NDArray[Any]
Session = Callable[[Array], tuple[Array, Array]]
"""From an input to probabilities and logits."""

MAX_DIFFERENCE = 1e-4  # of a logit, relative to the largest, between torch and an engine in fp32
MAX_CACHED_BYTES, MAX_CACHED_FILES = 2_000_000_000, 20
MAX_REASON_CHARACTERS = 300
EXPORTERS = ("onnx", "onnxscript")
TINY_MULTIPLY_ADDS = 2_000_000  # of one image; what starting an operator costs decides below
MAX_DEPTHWISE_SHARE = 0.25  # of the multiply-adds; above it, OpenVINO's slow bf16 depthwise convolutions decide


@dataclass(frozen=True)
class Choice:
    """An engine and the precision of its arithmetic."""

    engine: Literal["torch", "onnxruntime", "openvino"]
    precision: EnginePrecision

    def __str__(self) -> str:
        return f"{self.engine} {version_of(self.engine)}, {self.precision}"


@dataclass(frozen=True)
class Load:
    """The facts of a network that an engine is chosen by.

    Attributes:
        multiply_adds: Of one image.
        depthwise_share: Fraction of them in depthwise convolutions.
    """

    multiply_adds: int
    depthwise_share: float = 0.0

    @classmethod
    def measure(cls, network: nn.Module, prepare: Preprocessing) -> "Load":
        """Count the multiply-adds of a network."""
        summary = summarize(network, prepare.input_shape)
        depthwise = {
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        }
        counted = sum(layer.multiply_adds for layer in summary.layers if layer.name in depthwise)
        return cls(summary.multiply_adds, counted / max(summary.multiply_adds, 1))


def choose_engine(engine: Engine, load: Load, *, many: bool, device: str, exact: bool = False) -> Choice:
    """Resolve `auto` by what was measured (docs/benchmarks.md), never by timing.

    Args:
        engine: As asked for.
        load: Of one image.
        many: Whether many images are measured at a time, rather than one.
        device: The device as asked for; engines other than torch compute on the CPU.
        exact: Whether the arithmetic is in fp32 wherever it is faster in bf16.

    Raises:
        ConfigurationError: The engine is not installed, or cannot compute on the device.
    """
    fast: EnginePrecision = "bf16" if cpu_has_bf16() and not exact else "fp32"
    on_cpu = find_device(device).type == "cpu"
    if engine == "torch":
        return Choice("torch", fast)
    if engine != "auto":
        for package in (engine, *EXPORTERS):
            require(package, f"engine={engine}")
        if device not in ("auto", "cpu"):
            raise ConfigurationError(f"engine={engine}: it computes on the CPU; leave device={device} out")
        return Choice(engine, fast if engine == "openvino" else "fp32")
    if not on_cpu:
        return Choice("torch", fast)
    precision: EnginePrecision = "fp32" if load.depthwise_share > MAX_DEPTHWISE_SHARE else fast
    preferred = (Choice("onnxruntime", "fp32"), Choice("openvino", precision))
    if fast == "bf16" and (many or load.multiply_adds >= TINY_MULTIPLY_ADDS):
        preferred = preferred[::-1]
    if not all(map(is_installed, EXPORTERS)):
        return Choice("torch", fast)
    return next((choice for choice in preferred if is_installed(choice.engine)), Choice("torch", fast))


def open_onnxruntime(model: bytes) -> Session:
    """Return a session of ONNX Runtime on the CPU."""
    runtime = require("onnxruntime", "engine=onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with engine_errors("onnxruntime"):
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

    def run(values: Array) -> tuple[Array, Array]:
        with engine_errors("onnxruntime"):
            probabilities, logits = session.run(["probabilities", "logits"], {name: values})
        return probabilities, logits

    return run


@contextmanager
def engine_errors(engine: str) -> Iterator[None]:
    """Turn an engine's exceptions, which have no common class, into a RunError of one line."""
    try:
        yield
    except (LenextError, MemoryError):
        raise
    except Exception as error:
        raise RunError(
            f"{engine} cannot run the model: {' '.join(str(error).split())[:MAX_REASON_CHARACTERS]}"
        ) from error


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
    with engine_errors("openvino"):
        compiled = core.compile_model(core.read_model(model) if isinstance(model, bytes) else model, "CPU", settings)
        request = compiled.create_infer_request()

    def run(values: Array) -> tuple[Array, Array]:
        with engine_errors("openvino"):
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


def open_engine(
    network: nn.Module, prepare: Preprocessing, engine: Engine, *, many: bool, device: str, exact: bool = False
) -> nn.Module:
    """Return a network, or one that another engine computes, after both gave the same logits.

    Args:
        network: On the CPU.
        prepare: Its preprocessing.
        engine: Which engine.
        many: Whether many images come at a time.
        device: Where to compute, as asked for.
        exact: Whether the arithmetic is in fp32 wherever it is faster in bf16.

    Raises:
        ConfigurationError: The engine is not installed, or gives other logits; `auto` takes torch instead.
        RunError: The engine cannot run the network.
    """
    if engine == "torch":
        return network
    choice = choose_engine(engine, Load.measure(network, prepare), many=many, device=device, exact=exact)
    if choice.engine == "torch":
        return network
    images = torch.rand(4, *prepare.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.cpu().float().eval()(images).numpy()
    path = cache_path(network, prepare)
    try:
        if session := cached_session(path, choice, images.numpy(), expected):
            return EngineNetwork(session, choice)
        model = serialize(export_network_alone(network, prepare))
        check_same(open_session(model, Choice(choice.engine, "fp32")), images.numpy(), expected, str(choice))
        session = open_session(model, choice)
    except LenextError:
        if engine == "auto":
            return network
        raise
    with suppress(OSError, LenextError):  # the cache only saves time
        keep_model(path, model)
    return EngineNetwork(session, choice)


def cached_session(path: Path, choice: Choice, images: Array, expected: Array) -> Session | None:
    """Return a session of a model in the cache; None where there is none, or one of other logits."""
    if not path.is_file():
        return None
    try:
        model = read_regular(path, MAX_CACHED_BYTES)
        check_same(open_session(model, Choice(choice.engine, "fp32")), images, expected, str(choice))
        return open_session(model, choice)
    except (OSError, LenextError):
        return None


def keep_model(path: Path, model: bytes) -> None:
    """Write a model into the cache, and remove the oldest of many."""
    make_folder(path.parent)
    write_atomic(path, model)
    files = sorted(path.parent.glob("*.onnx"), key=lambda file: file.stat().st_mtime)
    for file in files[:-MAX_CACHED_FILES]:
        file.unlink(missing_ok=True)


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


def cache_path(network: nn.Module, prepare: Preprocessing) -> Path:
    """Return where the cache has the ONNX model of a network alone."""
    versions = [version_of(name) for name in ("torch", *EXPORTERS, "lenext")]
    key = json.dumps([weights_digest(network), str(network), prepare.input_shape, versions])
    return cache_folder() / "engines" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.onnx"


def versions_of_export() -> Mapping[str, str]:
    """Return the versions that made an exported file."""
    names = ("lenext", "torch", "onnx", "onnxscript", "onnxruntime", "openvino")
    return {name: version_of(name) for name in names if is_installed(name)}
