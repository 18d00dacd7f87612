"""What `train` knows before it begins: checked against each other, said in a few lines, with the time it will take."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from statistics import median
from typing import Any, Literal

from lenext.data.batches import batch_slices
from lenext.data.dataset import Dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, TrainingError, is_out_of_memory
from lenext.inspection.doctor import check_network
from lenext.models import find_variant
from lenext.models.user_network import is_user_network
from lenext.reporting.console import format_duration
from lenext.runs.weights import Description
from lenext.training.experiment import Experiment
from lenext.training.loop import events
from lenext.training.passes import augmentation, grown, has_compiler
from lenext.training.recipe import Recipe
from lenext.training.recipes import COMPILING_PAYS
from lenext.training.state import Step, TrainingState
from lenext.workflows.batch_size import find_batch_size
from lenext.workflows.context import Context
from lenext.workflows.prepare import build_network, build_preprocessing, check_fit, network_options

HOW = (
    "keep_weight_norms", "newton_schulz_steps", "freeze_stem_after", "accumulate_batches", "ema_decay",
    "label_smoothing", "class_weights", "gradient_clip", "initialization",
)  # fmt: skip
MIXED = ("mixup", "cutmix", "balanced_sampling", "hardest_fraction", "progressive_resizing", "tta")


class Job:
    """A training that is about to begin: the experiment, its divided data, its network, what is known of them."""

    def __init__(
        self,
        experiment: Experiment,
        data: Dataset,
        context: Context,
        *,
        load_weights: bool = True,
    ) -> None:
        """Build the network and check it against the data.

        Args:
            experiment: What is trained, how, on which data.
            data: The data, split.
            context: Where data and published weights are found.
            load_weights: Whether pretrained weights are loaded; not needed before a checkpoint is restored.

        Raises:
            ConfigurationError: The network, the recipe and the data do not fit together.
        """
        self.experiment, self.recipe, self.data = experiment, experiment.recipe, data
        self.compute = Compute.choose(self.recipe.device, self.recipe.precision, self.recipe.memory_format)
        self.prepare = build_preprocessing(data, experiment)
        shape, classes = self.prepare.input_shape, len(data.classes)
        options: dict[str, Any] = {}
        if context.network is not None:
            self.network = context.network
        else:
            options = network_options(experiment, shape[0], classes, shape[1])
            initial = experiment if load_weights else replace(experiment, pretrained="")
            self.network = build_network(initial, options, context)
        check_fit(self.network, experiment, shape, classes)
        self.batch_size = find_batch_size(self.network, shape, self.compute, self.recipe, len(data.train))
        self.recipe = replace(self.recipe, batch_size=self.batch_size, compile=self.compiles())
        self.experiment = replace(experiment, recipe=self.recipe)
        self.check_progressive(shape, classes)
        self.description = Description(experiment.network, options, data.classes, self.prepare)

    @property
    def is_own(self) -> bool:
        return not self.experiment.network or is_user_network(self.experiment.network)

    @property
    def title(self) -> str:
        return f"{type(self.network).__name__ if self.is_own else self.experiment.network} on {self.data.name}"

    def compiles(self) -> Literal["no", "yes", "cuda_graphs"]:
        """Whether the step is compiled: `auto` goes by a table, as timing would not give the same bits again."""
        recipe, images = self.recipe, self.samples * self.recipe.epochs
        if recipe.compile != "auto":
            return recipe.compile
        pays = images >= COMPILING_PAYS.get(self.experiment.network, math.inf)
        pays &= (
            recipe.progressive_resizing == recipe.freeze_stem_after == 1 and not recipe.mixup and not recipe.cutmix
        )  # steps differ
        return "yes" if pays and recipe.replicas == 1 and self.compute.device.type == "cpu" and has_compiler() else "no"

    @property
    def samples(self) -> int:
        """Training images that an epoch takes."""
        return self.recipe.samples_per_epoch(len(self.data.train))

    @cached_property
    def batches(self) -> int:
        """Of training images, in an epoch."""
        return len(batch_slices(self.samples, self.batch_size))

    @property
    def epochs(self) -> int:
        """Those there will be; fewer than the recipe's where it ends after so many steps."""
        each, total = self.recipe.length(self.batches)
        return -(-total // each)

    def check_progressive(self, shape: tuple[int, int, int], classes: int) -> None:
        """Try the image size that training begins with, where it grows."""
        if self.recipe.progressive_resizing < 1:
            small = (shape[0], *self.prepare.shrink(self.recipe.progressive_resizing).image_size)
            try:
                check_network(self.network, small, classes)
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"progressive_resizing={self.recipe.progressive_resizing:g}: the network {error}; "
                    "give more, or leave it out"
                ) from error

    def plan(self) -> dict[str, str]:
        """What will be done, to be said before it is done."""
        recipe, data = self.recipe, self.data
        parameters = sum(one.numel() for one in self.network.parameters())
        shape = " x ".join(map(str, self.prepare.input_shape))
        name = self.experiment.network or type(self.network).__name__
        source = "" if self.is_own else f" ({find_variant(name).source})"
        source += f", pretrained ({self.experiment.pretrained})" if self.experiment.pretrained else ""
        sizes = ", ".join(f"{len(split):,} {part}" for part, split in data.splits().items())
        early = f", early stopping after {recipe.early_stopping}" if recipe.early_stopping else ""
        return {
            "network": f"{name}{source}: {parameters:,} parameters",
            "data": f"{data.name}: {sizes} images",
            "split": self.how_split(),
            "recipe": f"{recipe.optimizer}, learning rate {recipe.learning_rate:g} ({recipe.schedule}), "
            f"{self.how_long()} of batches of {recipe.batch_size}{early}{self.also(HOW)}, seed {recipe.seed}",
            "images": f"{shape}, {len(data.classes)} classes; scaling {recipe.scaling}; "
            f"augmentation: {augmentation(data, recipe).describe()}{self.also(MIXED)}",
            "device": self.compute.describe() + (", compiled" if recipe.compile != "no" else "") + self.shared_out(),
            "time": self.expected(),
        }

    def shared_out(self) -> str:
        """Among how many replicas a batch is, where there are several."""
        if self.recipe.replicas == 1:
            return ""
        return f", {self.recipe.replicas} replicas" if self.compute.device.type == "cpu" else ", no replicas off a CPU"

    def also(self, names: Sequence[str]) -> str:
        """Those of these settings that are not as they are by default."""
        values = {name: getattr(self.recipe, name) for name in names}
        return "".join(f", {name} {value}" for name, value in values.items() if value != getattr(Recipe, name))

    def how_long(self) -> str:
        """Epochs, or steps."""
        recipe, exact = self.recipe, self.recipe.length(self.batches)
        if recipe.steps == "all":
            return f"{recipe.epochs} epochs"
        return f"{exact[1]:,} steps ({exact[1] / exact[0]:.2f} epochs)"

    def notes(self) -> list[str]:
        """What else a person should know, one line each."""
        data, notes = self.data, list[str]()
        last = batch_slices(self.samples, self.batch_size)[-1]
        if last.stop - last.start == self.batch_size + 1:
            notes.append(f"the last batch has {self.batch_size + 1} images; one alone breaks batch norm")
        if self.prepare.network_channels > self.prepare.channels:
            notes.append("the weights are for colour; grey images are repeated to three channels")
        if self.recipe.hardest_fraction < 1:
            notes.append(f"an epoch is of the {self.samples:,} hardest images; its training figures are of these alone")
        frozen = sum(one.numel() for one in self.network.parameters() if not one.requires_grad)
        if frozen:
            notes.append(f"{frozen:,} parameters are frozen")
        return [*notes, *data.notes]

    def how_split(self) -> str:
        """Where the validation and test images come from."""
        own = "the source's own"
        carved = f"taken out of train ({self.recipe.split}, seed {self.recipe.split_seed})"
        if self.recipe.select_on_test:
            return "no validation: the test set is measured after every epoch, and chooses (select_on_test)"
        validation = (
            "none" if self.data.validation is None else (own if "validation" not in self.data.held_out else carved)
        )
        test = carved if "test" in self.data.held_out else own
        return f"validation {validation}; test {'none' if self.data.test is None else test}"

    def expected(self) -> str:
        """How long an epoch will take, from a few steps of a copy of the network."""
        try:
            times = self.step_times()
        except (RuntimeError, TypeError) as error:
            return f"not known ({type(self.network).__name__} cannot be copied: {error})"
        if not times:
            return "not known"
        epoch, (each, total) = self.epoch_seconds(median(times[1:] or times)), self.recipe.length(self.batches)
        whole = f", {format_duration(epoch * total / each)} for {self.epochs}" if self.epochs > 1 else ""
        return f"about {format_duration(epoch)} an epoch{whole} (from {len(times)} steps)"

    def epoch_seconds(self, step: float) -> float:
        """Of an epoch and its measuring, at so many seconds a step of whole images; measuring takes a third of it."""
        measured = len(batch_slices(len(self.data.validation), self.batch_size)) if self.data.validation else 0
        measured += self.batches if self.recipe.evaluate_training else 0
        return step * self.mean_area() * (self.batches + measured / 3)

    def mean_area(self) -> float:
        """Of the epochs' images, as a share of the whole: below 1 where they grow."""
        if self.recipe.progressive_resizing == 1:
            return 1.0
        whole, epochs = math.prod(self.prepare.image_size), self.epochs
        sizes = (grown(self.prepare, self.recipe, epoch, epochs).image_size for epoch in range(1, epochs + 1))
        return sum(map(math.prod, sizes)) / (whole * epochs)

    def step_times(self, most: int = 8) -> list[float]:
        """Seconds that the first steps take, the very first included, of a copy of the network; as many as 5 s bear.

        Raises RuntimeError or TypeError for a network that cannot be copied, ConfigurationError where a step fails.
        """
        recipe = replace(self.recipe, initialization="default", compile="no", progressive_resizing=1.0, steps="all")
        trial = TrainingState.begin(copy.deepcopy(self.network), recipe)
        times: list[float] = []
        begun = last = time.perf_counter()
        try:
            for event in events(trial, self.data, recipe, prepare=self.prepare):
                if not isinstance(event, Step) or event.phase == "validation":
                    break
                float(event.loss)  # waits for the device
                now = time.perf_counter()
                times.append(now - last)
                last = now
                if len(times) == most or now - begun > 5:
                    break
        except TrainingError:
            pass  # training will tell it, with what there is by then
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            if is_out_of_memory(error):
                raise ConfigurationError(
                    f"batch_size={self.batch_size}: out of memory in the first step; --batch-size "
                    f"{max(1, self.batch_size // 2)} may fit, --batch-size auto finds one"
                ) from error
            what = " ".join(str(error).split())
            raise ConfigurationError(f"{self.title}: the first training step fails: {what}") from error
        return times
