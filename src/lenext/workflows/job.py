"""A job: a training that is ready to begin, checked against its data and its machine."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from lenext.acceleration.compilation import pays_to_compile
from lenext.data.dataset import Dataset
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.inspection.doctor import check_network
from lenext.models.pretrained import freeze
from lenext.models.user_network import is_user_network
from lenext.runs.weights import Description
from lenext.training.experiment import Experiment
from lenext.training.frozen import resolve_views
from lenext.training.parts import share_cores
from lenext.training.recipe import Recipe
from lenext.training.settings import Settings, resolve
from lenext.workflows.batch_size import find_batch_size
from lenext.workflows.context import Context
from lenext.workflows.fingerprint import fingerprints
from lenext.workflows.prepare import build_network, build_preprocessing, check_fit, network_options


@dataclass(frozen=True, eq=False)
class Job:
    """A training that is ready to begin.

    Attributes:
        experiment: What is trained, how, on which data; its recipe has no `auto` that depends on the network.
        data: A dataset that is split.
        network: What learns.
        settings: The recipe, resolved for the data and the machine.
        description: What prediction needs to know of the network.
        frozen: What is done about frozen layers, in words; empty when there are none.
    """

    experiment: Experiment
    data: Dataset
    network: nn.Module
    settings: Settings
    description: Description
    frozen: str = ""

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.experiment.recipe

    @property
    def compute(self) -> Compute:
        """The device and its arithmetic."""
        return self.settings.machine.compute

    @property
    def has_user_network(self) -> bool:
        """Whether the network is the user's own."""
        return not self.experiment.network or is_user_network(self.experiment.network)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each split; all pixels are read for it, once."""
        return fingerprints(self.data)

    @property
    def title(self) -> str:
        """The network and the data, for figures."""
        name = type(self.network).__name__ if self.has_user_network else self.experiment.network
        return f"{name} on {self.data.name}"


def prepare_job(experiment: Experiment, data: Dataset, context: Context, *, load_weights: bool = True) -> Job:
    """Build the network, and check it against the data and the machine.

    Args:
        experiment: What is trained, how, on which data.
        data: The data, split.
        context: Where published weights are found, and a network made in Python.
        load_weights: Whether pretrained weights are loaded; not needed before a checkpoint is restored.

    Raises:
        ConfigurationError: The network, the recipe, the data and the machine do not fit together.
    """
    recipe = experiment.recipe
    compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
    images, classes = build_preprocessing(data, experiment), len(data.classes)
    options: dict[str, Any] = {}
    if context.network is not None:
        network = context.network
    else:
        options = network_options(experiment, images.input_shape[0], classes, images.input_shape[1])
        network = build_network(experiment if load_weights else replace(experiment, pretrained=""), options, context)
    if experiment.freeze:
        freeze(network, experiment.freeze.split(","))
    check_fit(network, experiment, images.input_shape, classes)
    batch_size = find_batch_size(network, images.input_shape, compute, recipe, len(data.train))
    parts = context.group.size if recipe.parts == "auto" else recipe.parts
    is_compiled = recipe.compile not in ("no", "auto")
    recipe = replace(recipe, batch_size=batch_size, parts=parts, compile=recipe.compile if is_compiled else "no")
    check_first_size(network, recipe, images, classes)
    settings = share_cores(resolve(recipe, data, images), network, recipe, context.group)
    settings, note = resolve_views(network, data, recipe, settings)
    if experiment.recipe.compile == "auto" and not settings.sampling.feature_views:
        compiled = resolve_compile(experiment.network, recipe, len(data.train), compute)
        recipe = replace(recipe, compile=compiled)
        settings = replace(settings, machine=replace(settings.machine, compile=compiled))
    return Job(
        experiment=replace(experiment, recipe=recipe),
        data=data,
        network=network,
        settings=settings,
        description=Description(experiment.network, options, data.classes, images),
        frozen=note,
    )


def resolve_compile(network: str, recipe: Recipe, samples: int, compute: Compute) -> Literal["no", "yes"]:
    """Return whether `auto` compiles the step: where it pays, and all steps are alike."""
    steps_differ = recipe.progressive_resizing < 1 or recipe.freeze_stem_after < 1 or recipe.mixup or recipe.cutmix
    total = recipe.samples_per_epoch(samples) * recipe.epochs
    pays = recipe.parts == 1 and not steps_differ and pays_to_compile(network, total, compute)
    return "yes" if pays else "no"


def check_first_size(network: nn.Module, recipe: Recipe, images: Preprocessing, classes: int) -> None:
    """Try the image size that training begins with, when it grows."""
    if recipe.progressive_resizing == 1:
        return
    first = images.shrink(recipe.progressive_resizing)
    try:
        check_network(network, (images.input_shape[0], *first.image_size), classes)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"progressive_resizing={recipe.progressive_resizing:g}: the network {error}; give more, or leave it out"
        ) from error
