"""Published ImageNet weights, and weights in files of a person's own: fetched, checked, read without running anything.

The files are torchvision's. Eight digits of each SHA-256 are part of its published name; they are what is checked.
"""

import re
import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import ConfigurationError, RunError, unknown_name
from lenext.foundation.files import open_regular
from lenext.foundation.normalization import Normalization

MOST_BYTES = 64 << 30  # of a file of weights
ADDRESS = "https://download.pytorch.org/models/"
SIZE = 224  # pixels a side
SHORTER_SIDE = {
    "resnext101_64x4d": 232, "convnext_tiny": 236, "convnext_small": 230, "convnext_base": 232, "convnext_large": 232,
}  # fmt: skip
"""To how many pixels a photograph is scaled before its middle is cut out, where that is not 256."""
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # GoogLeNet's, which came from another framework

PUBLISHED = {
    "alexnet": "alexnet-owt-7be5be79",
    "vgg11": "vgg11-8a719046",
    "vgg13": "vgg13-19584684",
    "vgg16": "vgg16-397923af",
    "vgg19": "vgg19-dcbb9e9d",
    "vgg11_bn": "vgg11_bn-6002323d",
    "vgg13_bn": "vgg13_bn-abd245e5",
    "vgg16_bn": "vgg16_bn-6c64b313",
    "vgg19_bn": "vgg19_bn-c79401a0",
    "googlenet": "googlenet-1378be20",
    "resnet18": "resnet18-f37072fd",
    "resnet34": "resnet34-b627a593",
    "resnet50": "resnet50-0676ba61",
    "resnet101": "resnet101-63fe2227",
    "resnet152": "resnet152-394f9c45",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587",
    "resnext101_32x8d": "resnext101_32x8d-8ba56ff5",
    "resnext101_64x4d": "resnext101_64x4d-173b62eb",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d",
    "wide_resnet101_2": "wide_resnet101_2-32ee1156",
    "densenet121": "densenet121-a639ec97",
    "densenet161": "densenet161-8d451a50",
    "densenet169": "densenet169-b2777c0a",
    "densenet201": "densenet201-c1103571",
    "convnext_tiny": "convnext_tiny-983f1562",
    "convnext_small": "convnext_small-0c510722",
    "convnext_base": "convnext_base-6075fbad",
    "convnext_large": "convnext_large-ea097f82",
}


def imagenet_classes() -> tuple[str, ...]:
    """ImageNet's 1,000 names, in the order of the published weights' answers."""
    return tuple((files("lenext.models") / "imagenet.txt").read_text(encoding="utf-8").split("\n")[:-1])


def normalization_of(name: str) -> Normalization:
    """How pixels went into the published weights."""
    return HALVES if name == "googlenet" else IMAGENET


def published_file(name: str) -> RemoteFile:
    """Where the published weights are. Raises ConfigurationError for a network that has none."""
    if name not in PUBLISHED:
        raise ConfigurationError(f"{name} has no published weights; {unknown_name('such network', name, PUBLISHED)}")
    stem = PUBLISHED[name]
    return RemoteFile(f"{stem}.pth", 0, stem.rpartition("-")[2], (f"{ADDRESS}{stem}.pth",))


def load_published(network: nn.Module, name: str, data_dir: Path, offline: bool = False) -> None:
    """Fetch (once) and load the published weights; a last layer for other classes keeps its random start."""
    load_state(network, read_state(fetch(published_file(name), data_dir / "weights", offline=offline)), name)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pt, .pth or .safetensors file, by name. Raises RunError."""
    try:
        open_regular(path, MOST_BYTES).close()
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                if any(one.compress_type != zipfile.ZIP_STORED for one in packed.infolist()):
                    raise ValueError("compressed inside, as torch never does it")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can make the readers raise nearly anything
        what = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: not a file of plain weights ({what}); save a state_dict with torch.save") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise RunError(f"{path}: not a state_dict, which is tensors by name; save network.state_dict()")
    return {renamed(str(key)): value for key, value in found.items()}


def renamed(key: str) -> str:
    """Names as they are now: without DataParallel's `module.`; DenseNet's `norm.1` of long ago is `norm1`."""
    key = key.removeprefix("module.").removeprefix("_orig_mod.")
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", key)


def head_of(network: nn.Module) -> str:
    """The name of the last dense layer or convolution, which gives the classes."""
    weighted = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    outside = [name for name in weighted if not name.startswith("aux")]
    if not outside:
        raise ConfigurationError(f"{type(network).__name__} has no dense layer to replace")
    return outside[-1]


def load_state(network: nn.Module, state: Mapping[str, Tensor], name: str) -> list[str]:
    """Load weights by name: all must fit, but for the head of other classes and auxiliary heads that are not there.

    Returns the names that were left at their random start. Raises RunError.
    """
    own, head = network.state_dict(), head_of(network)
    given = {key: value for key, value in state.items() if key in own or not key.startswith("aux")}
    left = [key for key in own if key.startswith(f"{head}.") and key in given and given[key].shape != own[key].shape]
    left += [
        key for key in own if re.match(r"aux\d\.fc2\.", key) and key in given and given[key].shape != own[key].shape
    ]
    for key in left:
        del given[key]
    for key, value in given.items():
        if key in own and own[key].shape != value.shape:
            ours, theirs = (tuple(one.shape) for one in (own[key], value))
            raise RunError(f"weights for {name}: {key} is {theirs}, but {ours} here; channels and options must agree")
    missing, extra = sorted(set(own) - set(given) - set(left)), sorted(set(given) - set(own))
    if missing or extra:
        what = f"lack {missing[0]}" if missing else f"have {extra[0]}, which it lacks"
        raise RunError(f"weights for {name} {what} ({len(missing)} missing, {len(extra)} unknown); is it that network?")
    network.load_state_dict(given, strict=False)
    return left


def freeze(network: nn.Module, stages: Any) -> list[str]:
    """Stop the parts whose names begin with one of `stages` from learning; `backbone` is all but the head.

    Returns the names of the frozen parameters. Raises ConfigurationError for a part that is not there.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: list[str] = []
    for stage in stages:
        head = head_of(network)
        found = [
            one for one in names if (not one.startswith(f"{head}.") if stage == "backbone" else begins(one, stage))
        ]
        if not found:
            parts = [
                "backbone",
                *(name for name, part in network.named_children() if any(True for _ in part.parameters())),
            ]
            raise ConfigurationError(unknown_name("part to freeze", stage, parts))
        frozen += found
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return frozen


def begins(name: str, stage: str) -> bool:
    return name == stage or name.startswith(f"{stage}.")
