"""Weights in safetensors, with all that is needed to predict in their metadata; a file alone is enough.

The metadata hold one JSON text, `lenext`, and a `sha256` over the whole file with those 64 characters as zeros, which
is checked before anything is parsed: safetensors itself accepts files with flipped bits.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import RunError
from lenext.foundation.files import write_atomic
from lenext.foundation.normalization import Normalization
from lenext.models import create
from lenext.models.own import create_own, is_own
from lenext.models.variant import SET_BY_DATA

ZEROS = "0" * 64
SHA = re.compile(rb'"sha256":"([0-9a-f]{64})"')


@dataclass(frozen=True)
class Description:
    """What weights are of: the network with its options, the names of the classes, what pixels go through."""

    network: str
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        found = json.loads(text)
        prepare = found["preprocessing"]
        normalization = Normalization(*(tuple(prepare["normalization"][key]) for key in ("mean", "std")))
        sizes = {key: tuple(prepare[key]) for key in ("stored_size", "image_size")}
        preprocessing = Preprocessing(**(prepare | sizes | {"normalization": normalization}))
        return cls(found["network"], found["options"], tuple(found["classes"]), preprocessing)


def save(path: Path, network: nn.Module, description: Description) -> None:
    """Write a network's weights, whole or not at all."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(tensors, {"lenext": description.to_json(), "sha256": ZEROS})
    digest = hashlib.sha256(content).hexdigest()
    write_atomic(path, content.replace(f'"sha256":"{ZEROS}"'.encode(), f'"sha256":"{digest}"'.encode(), 1))


def load(path: Path) -> tuple[dict[str, Tensor], Description]:
    """The tensors and their Description. Raises RunError for a file that is missing, changed or of another kind."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    found = SHA.search(content, 8, 8 + int.from_bytes(content[:8], "little"))
    if found is None:
        raise RunError(f"{path}: not a weights file of lenext; such a file is weights/best.safetensors in a run")
    start, end = found.span(1)
    if hashlib.sha256(content[:start] + ZEROS.encode() + content[end:]).hexdigest() != found[1].decode():
        raise RunError(f"{path}: the file was changed or damaged since it was written (its SHA-256 differs)")
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        return safetensors.torch.load(content), Description.from_json(metadata["lenext"])
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise RunError(f"{path}: weights of an unknown make ({error}); they need another version of lenext") from error


def restore(
    tensors: Mapping[str, Tensor], description: Description, path: Path, network: nn.Module | str = ""
) -> nn.Module:
    """The network with its weights: built as the description says, or `network`, a module or FILE.py:Class.

    A file of weights never decides that a Python file is run: where it names one, the caller must name it too.
    Raises RunError.
    """
    if not isinstance(network, nn.Module):
        network = build(description, path, network)
    try:
        with torch.no_grad():
            network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        what = description.network or type(network).__name__
        raise RunError(f"{path}: the weights do not fit {what}: {' '.join(str(error).split())[:300]}") from error
    return network


def build(description: Description, path: Path, named: str) -> nn.Module:
    """The network that a description names, with the weights it starts from."""
    if named:
        if not is_own(named):
            return create(named, **description.options)
        follows = {key: description.options[key] for key in SET_BY_DATA if key in description.options}
        own = {key: value for key, value in description.options.items() if key not in follows}
        return create_own(named, own, **follows)
    if not description.network:
        raise RunError(f"{path}: weights of a network that was made in Python; give it (network=...)")
    if is_own(description.network):
        raise RunError(
            f"{path}: weights of a network of your own; give --network {description.network}, and that file is run"
        )
    return create(description.network, **description.options)
