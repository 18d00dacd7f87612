"""Opening trained weights: a run's, those of a file, or published ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import expand_path
from lenext.models import MODELS, create, find_pretrained_variant
from lenext.models.pretrained import IMAGENET_PIXELS, imagenet_classes
from lenext.runs.folder import Run
from lenext.runs.weights import Description, restore_network
from lenext.runs.weights import load as load_weights

StoredWeights = Literal["best", "last"]


def open_weights(
    model: str | Path | Run, weights: StoredWeights | None = None, network: nn.Module | str = ""
) -> tuple[nn.Module, Description]:
    """Return a network with its trained weights, and what it was trained for.

    Args:
        model: A run, its folder, or a file of weights.
        weights: Which of a run's weights; None for the best.
        network: The user's own network, when the weights are of one: a module, or FILE.py:Class, which is run.

    Raises:
        RunError: There is no such run, or it has no such weights.
        ConfigurationError: `weights` is given for a file of weights.
    """
    if isinstance(model, str | Path) and str(model) in MODELS and not expand_path(model).exists():
        raise RunError(f"{model} is a network, not a run; --pretrained uses its published weights")
    path = model.path if isinstance(model, Run) else expand_path(model)
    if path.is_dir():
        path = Run.open(path).weights(weights or "best")
        if not path.is_file():
            raise RunError(f"{path}: there are no {weights or 'best'} weights yet; the run did not get that far")
    elif not path.exists():
        raise RunError(f"{path}: there is no such run or weights file; `lenext list runs` lists the runs")
    elif weights:
        raise ConfigurationError(f"weights={weights}: {path} is one file of weights already; leave it out")
    tensors, description = load_weights(path)
    return restore_network(tensors, description, path, network), description


def open_published(
    name: str, data_dir: str | Path | None = None, offline: bool = False
) -> tuple[nn.Module, Description]:
    """Return a network by name with its published weights, for the classes of ImageNet."""
    variant = find_pretrained_variant(name)
    network = create(name, pretrained=True, data_dir=data_dir, offline=offline)
    stored_size, image_size = (variant.shorter_side,) * 2, (IMAGENET_PIXELS,) * 2
    images = Preprocessing(3, stored_size, "crop", image_size, "crop", variant.normalization)
    return network, Description(name, {}, imagenet_classes(), images)


def refuse_for_exported(path: str | Path, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for an option that has no effect on an exported file."""
    for option, value in options.items():
        if value not in (None, "", "auto"):
            raise ConfigurationError(f"{option}={value}: {path} is an exported file, which has its own; leave it out")
