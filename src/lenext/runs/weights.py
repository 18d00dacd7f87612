"""Weights with all that is needed to predict beside them, as JSON; a file alone is enough."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import Fit, Resize, convert
from lenext.models import create
from lenext.models.user_network import create_user_network, is_user_network
from lenext.models.variant import SET_BY_DATA
from lenext.runs.signed import read_signed, unknown_format_error, write_signed

KEY = "lenext"  # of the description in the metadata
LONGEST = 4 << 20  # bytes of a header: thousands of tensors, and as many names of classes


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
        """As `to_json` wrote it. Raises ValueError, TypeError or KeyError for what it would never write."""
        found = json.loads(text)
        prepare, classes = found["preprocessing"], tuple(found["classes"])
        of_pixels = [tuple(map(float, prepare["normalization"][key])) for key in ("mean", "std")]
        sizes = {key: tuple(prepare[key]) for key in ("stored_size", "image_size")}
        made = Preprocessing(**(prepare | sizes | {"normalization": Normalization(*of_pixels)}))
        convert("stored_fit", made.stored_fit, Fit)
        convert("resize", made.resize, Resize)
        channels = (made.channels, *((made.network_channels,) if made.network_channels else ()))
        right = [
            found.keys() == {"network", "options", "classes", "preprocessing"},
            isinstance(found["network"], str) and isinstance(found["options"], dict),
            len(classes) >= 2 and all(isinstance(name, str) for name in classes),
            all(len(size) == 2 and all(1 <= side <= 4096 for side in size) for size in sizes.values()),
            all(type(count) is int and 1 <= count <= 4 for count in channels),
            all(len(one) in channels and all(map(math.isfinite, one)) for one in of_pixels),
            all(one > 0 for one in of_pixels[1]),
        ]
        if not all(right):
            raise ValueError("a description that cannot be")
        return cls(found["network"], found["options"], classes, made)


def save(path: Path, network: nn.Module, description: Description) -> None:
    """Write a network's weights, whole or not at all."""
    write_signed(path, KEY, description.to_json(), network.state_dict())


def load(path: Path) -> tuple[dict[str, Tensor], Description]:
    """The tensors and their Description. Raises RunError for a file that is missing, changed or of another kind."""
    what = "a weights file of lenext; such a file is weights/best.safetensors in a run"
    text, tensors = read_signed(path, KEY, what, LONGEST)
    try:
        return tensors, Description.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, LenextError) as error:
        raise unknown_format_error(path, error) from error


def restore_network(
    tensors: Mapping[str, Tensor], description: Description, path: Path, network: nn.Module | str = ""
) -> nn.Module:
    """The network with its weights: built as the description says, or `network`, a module or FILE.py:Class.

    A file of weights never decides that a Python file is run: where it names one, the caller must name it too.
    Raises RunError.
    """
    if not isinstance(network, nn.Module):
        if not is_user_network(network or description.network):
            with torch.device("meta"):  # what the description asks for may be far larger than the file
                check_shapes(build(description, path, network), tensors, path)
        network = build(description, path, network)
    try:
        with torch.no_grad():
            network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        what = description.network or type(network).__name__
        raise RunError(f"{path}: the weights do not fit {what}: {' '.join(str(error).split())[:300]}") from error
    return network


def check_shapes(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Whether a network that has no memory yet has these tensors. Raises RunError."""
    shapes = {name: tuple(one.shape) for name, one in network.state_dict().items()}
    given = {name: tuple(one.shape) for name, one in tensors.items()}
    if wrong := sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name)):
        name = wrong[0]
        raise RunError(
            f"{path}: the weights do not fit {type(network).__name__}: {name} is {given.get(name, 'not there')}, "
            f"where {shapes.get(name, 'nothing')} belongs"
        )


def build(description: Description, path: Path, named: str) -> nn.Module:
    """The network that a description names, with the weights it starts from."""
    if named:
        if description.network and not is_user_network(description.network):
            raise RunError(f"{path}: its network is {description.network}; leave network={named} out")
        if not is_user_network(named):
            return create(named, **description.options)
        follows = {key: description.options[key] for key in SET_BY_DATA if key in description.options}
        own = {key: value for key, value in description.options.items() if key not in follows}
        return create_user_network(named, own, **follows)
    if not description.network:
        raise RunError(f"{path}: weights of a network that was made in Python; give it (network=...)")
    if is_user_network(description.network):
        raise RunError(
            f"{path}: weights of a network of your own; give --network {description.network}, and that file is run"
        )
    return create(description.network, **description.options)
