"""The formats of exported files: ONNX, OpenVINO's, and torch's exported programs."""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lenext.data.preprocessing import Preprocessing
from lenext.exporting.engines import Choice, Engine, Session, open_onnxruntime, open_openvino
from lenext.exporting.extras import is_installed, require
from lenext.exporting.onnx_file import (
    INVALID,
    Facts,
    export_network_alone,
    export_pixels_to_probabilities,
    plan_export,
    quiet_exporter,
    read_onnx,
    serialize,
    sign,
)
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import atomic, sha256, write_atomic

Format = Literal["onnx", "openvino", "pt2"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}
BINARY_KEY, MAX_REASON_CHARACTERS = "binary_sha256", 300
TOLERANCES: dict[str, float] = {"onnxruntime": 1e-5, "torch": 1e-5, "openvino": 2e-3}
"""Of a probability. OpenVINO computes float64 as float32, which moves 5 of 10,000 pixels by a level or two."""


@dataclass(frozen=True)
class Candidate:
    """A model that is not written yet.

    Attributes:
        session: Runs it.
        engine: What runs it.
        write: Writes it to a path, with its facts.
        model: The ONNX model, where there is one.
    """

    session: Session
    engine: Literal["torch", "onnxruntime", "openvino"]
    write: Callable[[Path, Facts], None]
    model: Any = None


def make_candidate(format: Format, network: nn.Module, prepare: Preprocessing, *, network_only: bool) -> Candidate:
    """Return a network in a format.

    Raises:
        ConfigurationError: The network cannot be exported, or a package is missing.
    """
    if format == "pt2":
        return make_program(network, prepare, network_only=network_only)
    if format == "openvino":
        require("openvino", "format=openvino")
    else:
        require("onnxruntime", "format=onnx: the file is verified")
    model = (export_network_alone if network_only else export_pixels_to_probabilities)(network, prepare)
    content = serialize(model)
    if format == "onnx":
        return Candidate(
            open_onnxruntime(content), "onnxruntime", lambda path, facts: write_atomic(path, sign(model, facts)), model
        )
    return Candidate(open_openvino(content), "openvino", lambda path, facts: write_openvino(content, path, facts))


def write_openvino(content: bytes, path: Path, facts: Facts) -> None:
    """Write OpenVINO's two files, .xml and .bin; the facts are in the first."""
    openvino = require("openvino", "format=openvino")
    model = openvino.Core().read_model(content)
    for key, value in facts.to_metadata().items():
        model.set_rt_info(value, ["lenext", key])
    binary = path.with_suffix(".bin")
    if binary.exists() and not path.exists():
        raise ConfigurationError(f"{binary}: another file is in the way of the weights; give another --out")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        graph, weights = Path(folder) / "model.xml", Path(folder) / "model.bin"
        try:
            openvino.save_model(model, graph, compress_to_fp16=False)
            model.set_rt_info(sha256(weights), ["lenext", BINARY_KEY])
            openvino.save_model(model, graph, compress_to_fp16=False)
        except (OSError, RuntimeError) as error:
            raise RunError(f"cannot write {path}: {' '.join(str(error).split())[:MAX_REASON_CHARACTERS]}") from error
        path.unlink(missing_ok=True)  # never an old graph beside new weights
        for source, target in ((weights, binary), (graph, path)):
            with atomic(target) as temporary:
                shutil.copyfile(source, temporary)


def make_program(network: nn.Module, prepare: Preprocessing, *, network_only: bool) -> Candidate:
    """Return a network as torch's exported program."""
    plan = plan_export(network, prepare, network_only=network_only)
    with quiet_exporter(), torch.no_grad():
        try:
            program = torch.export.export(plan.module, (plan.example,), dynamic_shapes=(plan.sizes,))
        except Exception as error:
            from lenext.exporting.diagnosis import explain_failure

            raise explain_failure(plan.module, plan.example, error) from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    return Candidate(program_session(program), "torch", lambda path, facts: write_program(program, path, facts))


def program_session(program: Any) -> Session:
    """Return a session of an exported program."""
    module = program.module()

    def run(values: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            probabilities, logits = module(torch.from_numpy(np.array(values)))
        return probabilities.numpy(), logits.numpy()

    return run


def write_program(program: Any, path: Path, facts: Facts) -> None:
    """Write an exported program with its facts."""
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"lenext": json.dumps(facts.to_metadata())})
    write_atomic(path, content.getvalue())


def open_exported(path: Path, engine: Engine | None = None) -> tuple[Session, Facts, Choice]:
    """Open an exported file, and check that it gives a probability for each class.

    Args:
        path: A file with the suffix .onnx or .xml.
        engine: What runs it; None or auto: what the format is of; for ONNX ONNX Runtime, else OpenVINO.

    Raises:
        RunError: It is no file that lenext exported, it was changed, or opening it could run code (.pt2).
        ConfigurationError: The engine does not run the format, or is not installed.
    """
    session, facts, choice = open_format(path, engine)
    prepare = facts.description.preprocessing
    blank: np.ndarray[Any, Any] = np.zeros((1, *prepare.input_shape), np.float32)
    if not facts.network_only:
        blank = np.zeros((1, prepare.channels, *prepare.stored_size), np.uint8)
    expected = (1, len(facts.description.classes))
    if any(values.shape != expected for values in session(blank)):
        raise RunError(f"{path}: its outputs are not those of {expected[1]} classes; export it again")
    return session, facts, choice


def open_format(path: Path, engine: Engine | None) -> tuple[Session, Facts, Choice]:
    """Open an exported file by its suffix; see `open_exported`."""
    suffix, engine = path.suffix.lower(), engine or "auto"
    if not path.is_file():
        raise RunError(f"{path}: there is no such exported file; `lenext export RUN` writes one")
    if suffix == ".onnx":
        content, facts = read_onnx(path)
        if engine == "openvino" or (engine == "auto" and not is_installed("onnxruntime")):
            return open_openvino(content), facts, Choice("openvino", "fp32")
        check_engine(path, engine, "onnxruntime")
        return open_onnxruntime(content), facts, Choice("onnxruntime", "fp32")
    if suffix == ".xml":
        check_engine(path, engine, "openvino")
        return open_openvino_file(path)
    if suffix != ".pt2":
        raise RunError(f"{path}: not an exported file; it ends in .onnx or .xml")
    raise RunError(
        f"{path}: opening a .pt2 file can run code that is in it, so lenext only writes them; if you trust its maker, "
        "torch.export.load opens it"
    )


def check_engine(path: Path, engine: Engine, expected: str) -> None:
    """Raise ConfigurationError for an engine that cannot run a format."""
    if engine not in ("auto", expected):
        raise ConfigurationError(f"engine={engine}: {path} is run by {expected}; leave the engine out")


def open_openvino_file(path: Path) -> tuple[Session, Facts, Choice]:
    """Open OpenVINO's files."""
    openvino = require("openvino", str(path))
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise RunError(f"{binary}: the weights are missing; copy them together with {path.name}")
    try:
        model = openvino.Core().read_model(path)
        metadata = {key: str(model.get_rt_info(["lenext", key]).value) for key in model.get_rt_info(["lenext"]).value}
        facts, expected = Facts.from_metadata(metadata), metadata[BINARY_KEY]
    except (*INVALID, RuntimeError) as error:
        raise RunError(f"{path}: not a model that lenext exported; `lenext export RUN --format openvino`") from error
    if sha256(binary) != expected:
        raise RunError(f"{binary}: the file has changed since it was exported; export it again")
    return open_openvino(model), facts, Choice("openvino", "fp32")
