"""The networks that a page is of: a run's, those of weights files, published and untrained ones."""

import copy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path
from lenext.foundation.normalization import Normalization
from lenext.models import MODELS, create, find_variant
from lenext.runs.folder import Run
from lenext.runs.weights import Description
from lenext.runs.weights import load as load_weights
from lenext.workflows.context import Context
from lenext.workflows.open_weights import StoredWeights, open_published, open_weights
from lenext.workflows.opened_run import OpenedRun


@dataclass(frozen=True)
class Opened:
    """A network to explore.

    Attributes:
        name: What the page calls it.
        network: On the CPU, in fp32.
        description: Its classes and preprocessing.
        run: The run that it is of, with its data; None for weights and untrained networks.
        is_best: Whether the weights are those that the run's results are of.
    """

    name: str
    network: nn.Module
    description: Description
    run: OpenedRun | None
    is_best: bool


def open_model(
    model: str | Path | Run,
    weights: StoredWeights | None,
    network: nn.Module | str,
    pretrained: bool,
    context: Context,
    *,
    refuses_context: bool = False,
) -> Opened:
    """Open a run, a file of weights, or a network by name.

    `refuses_context`: whether a data folder and `offline` are refused where no data are read.
    """
    path = model.path if isinstance(model, Run) else expand_path(model)
    if refuses_context and not pretrained and not path.is_dir():
        for option, option_value in (("data_dir", context.data_dir), ("offline", context.offline)):
            if option_value:
                raise ConfigurationError(f"{option}: {model} is no run, so no data are read; leave it out")
    if pretrained or (str(model) in MODELS and not path.exists()):
        for option, value in (("weights", weights), ("network", network)):
            if value:
                raise ConfigurationError(f"{option}={value}: {model} is the name of a network; leave it out")
        if pretrained:
            module, description = open_published(str(model), context.data_dir, context.offline)
            return Opened(f"{model}, pretrained", prepared(module), description, None, False)
        return open_untrained(str(model))
    module, description = open_weights(model, weights, copy.deepcopy(network))
    path = path.resolve()
    opened = OpenedRun(Run(path), network, context) if path.is_dir() else None
    name, kind = (path.name, weights) if opened else (path.stem, None)
    if path.parent.name == "weights" and (path.parent.parent / "recipe.yaml").is_file():
        name, kind = path.parent.parent.name, "last" if path.stem == "last" else "best"
    shown = f"{name}, {kind} weights" if kind else name
    return Opened(shown, prepared(module), description, opened, opened is not None and weights != "last")


def network_of(model: str | Path | Run, network: nn.Module | str) -> nn.Module | str:
    """Return the user's own network where a run or file of weights needs it, else an empty text."""
    path = model.path if isinstance(model, Run) else expand_path(model)
    if not network or not path.exists():
        return ""
    name = Run.open(path).experiment.network if path.is_dir() else load_weights(path)[1].network
    return "" if name in MODELS else network


def prepared(module: nn.Module) -> nn.Module:
    return module.cpu().float().eval()


def open_untrained(name: str) -> Opened:
    """Return a network by name with its random weights, for images of the size that it is made for."""
    variant = find_variant(name)
    channels, count = (int(variant.parameters()[key].default) for key in ("in_channels", "num_classes"))
    size = (variant.image_size, variant.image_size)
    prepare = Preprocessing(channels, size, "crop", size, "interpolate", Normalization.from_scaling("unit", channels))
    description = Description(name, {}, tuple(f"class {number}" for number in range(count)), prepare)
    return Opened(f"{name}, untrained", prepared(create(name)), description, None, False)


def check_alike(first: Opened, second: Opened) -> None:
    """Raise ConfigurationError unless two networks take the same images and have the same classes."""
    if first.description.classes != second.description.classes:
        raise ConfigurationError(f"against: {second.name} has other classes than {first.name}")
    shapes = [
        (each.channels, each.stored_size, each.stored_fit)
        for each in (first.description.preprocessing, second.description.preprocessing)
    ]
    if shapes[0] != shapes[1]:
        raise ConfigurationError(f"against: {second.name} takes images of another size or kind than {first.name}")
