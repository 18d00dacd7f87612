"""Published ImageNet weights, and weights in a user's files: fetched, checked, and read without running any code.

The published files are torchvision's. Their names end in eight digits of their SHA-256, which are checked.
"""

import re
import zipfile
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import ConfigurationError, RunError, unknown_name
from lenext.foundation.files import open_regular

MAX_WEIGHTS_BYTES = 64 << 30
ADDRESS = "https://download.pytorch.org/models/"
IMAGENET_PIXELS = 224  # a side, of the images that the published weights were trained on


def imagenet_classes() -> tuple[str, ...]:
    """Return ImageNet's 1,000 class names, in the order of the logits of the published weights."""
    return tuple((files("lenext.models") / "imagenet.txt").read_text(encoding="utf-8").split("\n")[:-1])


def published_file(weights: str) -> RemoteFile:
    """Return the published file of this name (`Variant.weights`)."""
    return RemoteFile(f"{weights}.pth", 0, weights.rpartition("-")[2], (f"{ADDRESS}{weights}.pth",))


def load_published(network: nn.Module, name: str, weights: str, data_dir: Path, offline: bool = False) -> None:
    """Fetch published weights, once, and load them; a last layer for other classes keeps its random weights."""
    path = fetch(published_file(weights), data_dir / "weights", offline=offline)
    load_state(network, read_state(path), name)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .pt, .pth or .safetensors file, by name.

    Raises:
        RunError: The file is missing, broken, or holds something else than tensors by name.
    """
    try:
        open_regular(path, MAX_WEIGHTS_BYTES).close()
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("compressed inside, as torch never does it")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can make the readers raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: not a file of plain weights ({reason}); save a state_dict with torch.save") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RunError(f"{path}: not a state_dict, which is tensors by name; save network.state_dict()")
    return {modernize_key(str(key)): value for key, value in state.items()}


def modernize_key(key: str) -> str:
    """Return a key as networks have it today: without DataParallel's `module.`, and DenseNet's `norm.1` as `norm1`."""
    key = key.removeprefix("module.").removeprefix("_orig_mod.")
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", key)


def find_head(network: nn.Module) -> str:
    """Return the name of the last dense layer or convolution, which gives the logits; auxiliary heads do not count."""
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.startswith("aux")
    ]
    if not names:
        raise ConfigurationError(f"{type(network).__name__} has no dense layer to replace")
    return names[-1]


def load_state(network: nn.Module, state: Mapping[str, Tensor], name: str) -> list[str]:
    """Load weights by name into the network called `name`.

    All must fit, except a head for other classes, and auxiliary heads that the network does not have.

    Returns:
        The names that keep their random weights.

    Raises:
        RunError: A weight is missing, unknown, or of another shape.
    """
    own, head = network.state_dict(), find_head(network)
    loaded = {key: value for key, value in state.items() if key in own or not key.startswith("aux")}
    heads = [key for key in own if key.startswith(f"{head}.")] + [key for key in own if re.match(r"aux\d\.fc2\.", key)]
    random = [key for key in heads if key in loaded and loaded[key].shape != own[key].shape]
    for key in random:
        del loaded[key]
    for key, value in loaded.items():
        if key in own and own[key].shape != value.shape:
            raise RunError(
                f"weights for {name}: {key} is {tuple(value.shape)}, but {tuple(own[key].shape)} here; "
                "channels and options must agree"
            )
    missing, unknown = sorted(set(own) - set(loaded) - set(random)), sorted(set(loaded) - set(own))
    if missing or unknown:
        problem = f"lack {missing[0]}" if missing else f"have {unknown[0]}, which it lacks"
        raise RunError(
            f"weights for {name} {problem} ({len(missing)} missing, {len(unknown)} unknown); is it that network?"
        )
    network.load_state_dict(loaded, strict=False)
    return random


def freeze(network: nn.Module, parts: Iterable[str]) -> list[str]:
    """Freeze the parameters whose names begin with one of these parts; `backbone` is all but the head.

    Returns:
        The names of the frozen parameters.

    Raises:
        ConfigurationError: The network has no such part.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: list[str] = []
    for part in parts:
        if part == "backbone":
            head = find_head(network)
            matching = [name for name in names if not name.startswith(f"{head}.")]
        else:
            matching = [name for name in names if name == part or name.startswith(f"{part}.")]
        if not matching:
            children = [name for name, child in network.named_children() if next(child.parameters(), None) is not None]
            raise ConfigurationError(unknown_name("part to freeze", part, ["backbone", *children]))
        frozen += matching
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    return frozen
