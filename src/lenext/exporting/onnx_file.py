"""ONNX files: a network, with its preprocessing or alone, and the metadata that describe it, signed by a SHA-256.

The metadata `sha256` is that of the full file with those 64 characters as zeros, as in the weights files.
"""

import hashlib
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import DRAFT
from lenext.exporting.extras import require
from lenext.exporting.graph import ExportedNetwork
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import open_regular
from lenext.runs.weights import Description

OPSET, IR_VERSION = 18, 8  # as old as the operators allow, for old runtimes
MAX_BATCH, MAX_SIDE = 1 << 16, 1 << 14
MAX_FILE_BYTES = 2_000_000_000  # of a protobuf
INPUT, OUTPUTS = "pixels", ("probabilities", "logits")
ZEROS = "0" * 64
SHA_PATTERN = re.compile(rb"sha256\x12\x40([0-9a-f]{64})")  # the key, then a text of 64 bytes, in a protobuf
NETWORK_SCOPE = re.compile(r"'network(\.[^']*)?'")
INVALID = (LenextError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading metadata of others may raise."""


@dataclass(frozen=True)
class Facts:
    """The facts that an exported file states, beside the network.

    Attributes:
        description: Network, options, classes and preprocessing.
        network_only: Whether the input is prepared images instead of pixels.
        weights_sha256: Of the weights' names, shapes and values.
        recipe: The training's recipe as YAML; empty if unknown.
        fingerprints: Of the splits that it was trained and measured on.
        versions: Of lenext, torch and the exporter.
        licence: Of the weights, as given by who exports.
        verification: What was compared before the file was written; or that nothing was.
    """

    description: Description
    network_only: bool
    weights_sha256: str
    recipe: str
    fingerprints: Mapping[str, str]
    versions: Mapping[str, str]
    licence: str
    verification: Mapping[str, Any]

    def to_metadata(self) -> dict[str, str]:
        """Return the entries of the file's metadata."""
        prepare = self.description.preprocessing
        return {
            "lenext": self.description.to_json(),
            "classes": json.dumps(self.description.classes, ensure_ascii=False),
            "preprocessing": json.dumps(describe_preprocessing(prepare)),
            "network_only": json.dumps(self.network_only),
            "weights_sha256": self.weights_sha256,
            "recipe": self.recipe,
            "split_fingerprints": json.dumps(dict(self.fingerprints)),
            "versions": json.dumps(dict(self.versions)),
            "license": self.licence,
            "verification": json.dumps(dict(self.verification)),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Facts":
        """Read what `to_metadata` wrote. Raises KeyError, ValueError or TypeError for anything else."""
        return cls(
            Description.from_json(metadata["lenext"]),
            bool(json.loads(metadata["network_only"])),
            metadata["weights_sha256"],
            metadata["recipe"],
            json.loads(metadata["split_fingerprints"]),
            json.loads(metadata["versions"]),
            metadata["license"],
            json.loads(metadata["verification"]),
        )


def describe_preprocessing(prepare: Preprocessing) -> dict[str, Any]:
    """Return the preprocessing for services that do it themselves: the values, and the steps in words."""
    height, width = prepare.stored_size
    fit = "scale the centre to cover" if prepare.stored_fit == "crop" else "shrink all of the image, on black, into"
    steps = [
        f"decode (predict decodes a JPEG of more than {2 * DRAFT} times the size below at a half, a quarter or an "
        "eighth of its size); turn upright by EXIF; put transparent pixels on white; "
        + ("convert to 8-bit grey" if prepare.channels == 1 else "convert to 8-bit RGB"),
        f"{fit} {height} x {width}: triangle filter, across, then down, taps of 22 bits, 8 bits between",
    ]
    if prepare.image_size != prepare.stored_size:
        steps.append(f"{prepare.resize} to {prepare.image_size[0]} x {prepare.image_size[1]}, without rounding")
    steps.append("(pixel / 255 - mean) / std, by channel")
    if prepare.network_channels > prepare.channels:
        steps.append(f"repeat the channel {prepare.network_channels} times")
    return asdict(prepare) | {"steps": steps}


def weights_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's tensors: their names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence the warnings of torch's exporter about its own inside, and what it logs before it raises an error."""
    logged = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logged)


@dataclass(frozen=True)
class Plan:
    """A module to export, with an example of its input, the input's name and its free sizes."""

    module: ExportedNetwork
    example: Tensor
    name: str
    sizes: dict[int, Any]


def plan_export(network: nn.Module, prepare: Preprocessing, *, network_only: bool) -> Plan:
    """Return the module from pixels (N, C, H, W), uint8, or from prepared images, float32, to its outputs."""
    module, batch = ExportedNetwork(network, prepare).eval(), dimension("batch", MAX_BATCH)
    if network_only:
        module.prepare = nn.Identity()  # type: ignore[assignment]
        return Plan(module, torch.zeros(2, *prepare.input_shape), "images", {0: batch})
    pixels = torch.zeros(2, prepare.channels, 61, 47, dtype=torch.uint8)
    return Plan(module, pixels, INPUT, {0: batch, 2: dimension("height", MAX_SIDE), 3: dimension("width", MAX_SIDE)})


def export_pixels_to_probabilities(network: nn.Module, prepare: Preprocessing) -> Any:
    """Return the ONNX model from pixels (N, C, H, W), uint8, to probabilities and logits (N, K).

    Raises:
        ConfigurationError: The network cannot be exported; the message names the layer.
    """
    return convert_to_onnx(plan_export(network, prepare, network_only=False))


def export_network_alone(network: nn.Module, prepare: Preprocessing) -> Any:
    """Return the ONNX model from prepared images (N, C, height, width), float32, to probabilities and logits (N, K).

    Raises:
        ConfigurationError: The network cannot be exported.
    """
    return convert_to_onnx(plan_export(network, prepare, network_only=True))


def dimension(name: str, largest: int) -> Any:
    return torch.export.Dim(name, min=1, max=largest)


def convert_to_onnx(plan: Plan) -> Any:
    """Return the ONNX model of a module, with `network` in the names of the nodes that belong to the network."""
    require("onnx", "export")
    require("onnxscript", "export")
    with quiet_exporter(), torch.no_grad():
        try:
            program = torch.onnx.export(
                plan.module, (plan.example,), dynamo=True, opset_version=OPSET, dynamic_shapes=(plan.sizes,),
                input_names=[plan.name], output_names=list(OUTPUTS), external_data=False, verbose=False,
            )  # fmt: skip
        except LenextError:
            raise
        except Exception as error:
            from lenext.exporting.diagnosis import explain_failure

            raise explain_failure(plan.module, plan.example, error) from error
    if program is None:
        raise ConfigurationError("export: torch's exporter gave no program")
    model = program.model_proto
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")), "")
        node.name = f"network/{node.name}" if NETWORK_SCOPE.search(scopes) else node.name
    remove_traces(model.graph)
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    return model


def remove_traces(graph: Any) -> None:
    """Remove what the exporter notes about each node, paths of this machine among it, from a graph and those within."""
    del graph.metadata_props[:]
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del value.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    remove_traces(inner)


def serialize(model: Any) -> bytes:
    """Return the bytes of an ONNX model. Raises ConfigurationError where they are more than a protobuf may have."""
    try:
        content: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:  # of protobuf, by its implementation
        raise ConfigurationError(f"export: the network is larger than 2 GB, the limit of one file ({error})") from error
    return content


def sign(model: Any, facts: Facts) -> bytes:
    """Return the bytes of an ONNX model with its metadata and its SHA-256.

    Raises:
        ConfigurationError: It is larger than a protobuf may be.
    """
    del model.metadata_props[:]
    for key, value in (*sorted(facts.to_metadata().items()), ("sha256", ZEROS)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content = serialize(model)
    start = content.rindex(ZEROS.encode())
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:start] + digest + content[start + len(digest) :]


def is_unchanged(content: bytes) -> bool:
    """Return whether the bytes of an ONNX file are those that were signed."""
    matches = list(SHA_PATTERN.finditer(content))
    if not matches:
        return False
    start, end = matches[-1].span(1)
    digest = hashlib.sha256(content[:start])
    digest.update(ZEROS.encode())
    digest.update(content[end:])
    return digest.hexdigest().encode() == matches[-1][1]


def foreign_part(model: Any) -> str:
    """Return what a model has that lenext never writes: other files, functions, loops; empty for none."""
    onnx = require("onnx", "export")
    if model.functions or model.graph.sparse_initializer:
        return "functions"
    tensors = [*model.graph.initializer]
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx", "com.microsoft"):
            return f"operators of {node.domain}"
        for attribute in node.attribute:
            if attribute.g.node or attribute.graphs:
                return f"a part that runs by condition ({node.op_type})"
            tensors += [attribute.t, *attribute.tensors]
    return "data in other files" if any(each.data_location == onnx.TensorProto.EXTERNAL for each in tensors) else ""


def read_onnx(path: Path) -> tuple[bytes, Facts]:
    """Return the bytes of an exported file, and what it says about itself.

    Raises:
        RunError: It is no file that lenext exported, or it has changed since.
    """
    onnx = require("onnx", str(path))
    with open_regular(path) as file:
        content = file.read(MAX_FILE_BYTES)
    try:
        model = onnx.load_from_string(content)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
    except Exception as error:  # protobuf's DecodeError and others
        raise RunError(f"{path}: not an ONNX file; `lenext export RUN` writes one") from error
    if "lenext" not in metadata:
        raise RunError(f"{path}: an ONNX file, but not of lenext: classes and preprocessing are unknown")
    if problem := foreign_part(model):
        raise RunError(f"{path}: it has {problem}, as no file of lenext does")
    if not is_unchanged(content):
        raise RunError(f"{path}: the file has changed since it was exported; export it again")
    try:
        return content, Facts.from_metadata(metadata)
    except INVALID as error:
        raise RunError(f"{path}: exported by another version of lenext ({error!r}); export it again") from error
