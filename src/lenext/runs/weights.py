"""Weights files: the tensors, and a description in JSON with all else that prediction needs."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.data.resizing import VERSION as RESIZING_VERSION
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import Fit, Resize, convert
from lenext.models import create
from lenext.models.user_network import check_network_argument, create_user_network, is_user_network
from lenext.models.variant import SET_BY_DATA
from lenext.runs.signed import read_signed, unknown_format_error, write_signed

KEY = "lenext"  # of the description in the metadata
MAX_HEADER_BYTES = 4 << 20  # thousands of tensors, and as many class names
MAX_IMAGE_PIXELS = 4096  # side
MAX_CHANNELS = 4
MAX_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class Description:
    """The network of a weights file with its options, the class names and the preprocessing."""

    network: str
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Read what `to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        content = json.loads(text)
        prepare, classes = content["preprocessing"], tuple(content["classes"])
        mean_and_std = [tuple(map(float, prepare["normalization"][key])) for key in ("mean", "std")]
        sizes = {key: tuple(prepare[key]) for key in ("stored_size", "image_size")}
        preprocessing = Preprocessing(**(prepare | sizes | {"normalization": Normalization(*mean_and_std)}))
        convert("stored_fit", preprocessing.stored_fit, Fit)
        convert("resize", preprocessing.resize, Resize)
        channels = (preprocessing.channels, *filter(None, (preprocessing.network_channels,)))
        checks = [
            content.keys() == {"network", "options", "classes", "preprocessing"},
            isinstance(content["network"], str) and isinstance(content["options"], dict),
            len(classes) >= 2 and all(isinstance(name, str) for name in classes),
            all(len(size) == 2 and all(1 <= side <= MAX_IMAGE_PIXELS for side in size) for size in sizes.values()),
            all(type(count) is int and 1 <= count <= MAX_CHANNELS for count in channels),
            all(len(values) in channels and all(map(math.isfinite, values)) for values in mean_and_std),
            all(std > 0 for std in mean_and_std[1]),
            preprocessing.resizing == RESIZING_VERSION,
        ]
        if not all(checks):
            raise ValueError("an invalid description")
        return cls(content["network"], content["options"], classes, preprocessing)


def save(path: Path, network: nn.Module, description: Description) -> None:
    """Write a network's weights atomically."""
    write_signed(path, KEY, description.to_json(), network.state_dict())


def load(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Read tensors and their Description. Raises RunError for a file that is missing, changed or of another kind."""
    kind = "a weights file of lenext; such a file is weights/best.safetensors in a run"
    text, tensors = read_signed(path, KEY, kind, MAX_HEADER_BYTES)
    try:
        return tensors, Description.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, LenextError) as error:
        raise unknown_format_error(path, error) from error


def restore_network(
    tensors: Mapping[str, Tensor], description: Description, path: Path, network: nn.Module | str = ""
) -> nn.Module:
    """Return a network with its weights: built from the description, or `network`, a module or FILE.py:Class.

    A weights file never decides that a Python file is run: if it names one, the caller must name it too.

    Raises:
        RunError: The weights do not fit, or the network must be passed.
    """
    check_network_argument(network)
    if not isinstance(network, nn.Module):
        if not is_user_network(network or description.network):
            with torch.device("meta"):  # the described network may be far larger than the file
                check_shapes(build_network(description, path, network), tensors, path)
        network = build_network(description, path, network)
    try:
        with torch.no_grad():
            network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        name, reason = description.network or type(network).__name__, " ".join(str(error).split())
        raise RunError(f"{path}: the weights do not fit {name}: {reason[:MAX_REASON_CHARACTERS]}") from error
    return network


def check_shapes(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that a network on the meta device has tensors of these names and shapes. Raises RunError."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    actual = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)):
        name = wrong[0]
        raise RunError(
            f"{path}: the weights do not fit {type(network).__name__}: {name} is {actual.get(name, 'missing')}, "
            f"where {expected.get(name, 'nothing')} is expected"
        )


def build_network(description: Description, path: Path, name: str) -> nn.Module:
    """Build the described network with initial weights; `name` overrides a user-defined or unnamed network.

    Raises RunError if the network must be passed, or `name` contradicts the description.
    """
    if name:
        if description.network and not is_user_network(description.network):
            raise RunError(f"{path}: its network is {description.network}; remove network={name}")
        if not is_user_network(name):
            return create(name, **description.options)
        set_by_data = {key: description.options[key] for key in SET_BY_DATA if key in description.options}
        options = {key: value for key, value in description.options.items() if key not in set_by_data}
        return create_user_network(name, options, set_by_data)
    if not description.network:
        raise RunError(f"{path}: weights of a network that was made in Python; pass it as network=...")
    if is_user_network(description.network):
        raise RunError(
            f"{path}: weights of a user-defined network; pass --network {description.network} to run that file"
        )
    return create(description.network, **description.options)
