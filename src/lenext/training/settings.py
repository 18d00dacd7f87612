"""Settings: a recipe resolved for a dataset and a machine, as a frozen tree without `auto`.

Each part of training takes its own group of settings, never the recipe.
"""

from dataclasses import dataclass, replace
from typing import Literal

from lenext.data.augment import Augmentation
from lenext.data.batches import batch_slices
from lenext.data.dataset import Dataset
from lenext.data.preprocessing import Preprocessing
from lenext.data.splitting import split_dataset
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.settings import Reduction, TestTimeAugmentation
from lenext.training.recipe import Length, Recipe
from lenext.training.training_keys import Initialization, Optimizer, Schedule


@dataclass(frozen=True)
class SamplingSettings:
    """The samples of an epoch, and their order.

    Attributes:
        batch_size: Samples per batch.
        samples: Samples per epoch.
        shuffle: Whether each epoch has a new order.
        balanced: Whether every class is drawn equally often.
        hardest: Whether an epoch takes only the samples with the largest loss.
        alternating_flips: Whether an image is mirrored in every other epoch, instead of at random.
        feature_views: Augmented views of each image whose features are stored, where layers are frozen; 0 for none.
        seed: Of the order, the augmentation, and of what the network draws.
    """

    batch_size: int
    samples: int
    shuffle: bool
    balanced: bool
    hardest: bool
    alternating_flips: bool
    feature_views: int
    seed: int

    @property
    def batches(self) -> int:
        """The number of batches per epoch."""
        return len(batch_slices(self.samples, self.batch_size))


@dataclass(frozen=True)
class ScheduleSettings:
    """The length of training, and how it changes with time.

    Attributes:
        length: The updates per epoch and in all.
        accumulate_batches: Batches per update.
        peak: The highest learning rate.
        shape: How the learning rate goes.
        warmup_updates: Updates of linear rise before.
        first_image_size: The fraction of the image size to begin with (progressive resizing).
        stem_epochs: Epochs in which the first layer learns; None for all.
        early_stopping: Epochs without a better validation after which training ends; 0 for never.
    """

    length: Length
    accumulate_batches: int
    peak: float
    shape: Schedule
    warmup_updates: int
    first_image_size: float
    stem_epochs: int | None
    early_stopping: int

    @classmethod
    def from_recipe(cls, recipe: Recipe, batches: int) -> "ScheduleSettings":
        """Return the schedule of a recipe, given the number of batches per epoch."""
        length = recipe.length(batches)
        stem_epochs = int(recipe.freeze_stem_after * length.epochs + 1e-9)  # 0.3 of 10 is not 2
        return cls(
            length=length,
            accumulate_batches=recipe.accumulate_batches,
            peak=float(recipe.with_defaults().learning_rate),
            shape=recipe.schedule,
            warmup_updates=round(recipe.warmup_epochs * length.updates_per_epoch),
            first_image_size=recipe.progressive_resizing,
            stem_epochs=stem_epochs if recipe.freeze_stem_after < 1 else None,
            early_stopping=recipe.early_stopping,
        )


@dataclass(frozen=True)
class OptimizerSettings:
    """The change of the weights by their gradients: keys of the recipe without `auto`."""

    name: Optimizer
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_norms_and_biases: bool
    keep_weight_norms: bool
    newton_schulz_steps: int
    gradient_clip: float
    ema_decay: float

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> "OptimizerSettings":
        """Return the optimizer's settings of a recipe."""
        recipe = recipe.with_defaults()
        return cls(
            name=recipe.optimizer,
            learning_rate=float(recipe.learning_rate),
            momentum=recipe.momentum,
            nesterov=recipe.nesterov is True,
            weight_decay=float(recipe.weight_decay),
            decay_norms_and_biases=recipe.decay_norms_and_biases,
            keep_weight_norms=recipe.keep_weight_norms,
            newton_schulz_steps=recipe.newton_schulz_steps,
            gradient_clip=recipe.gradient_clip,
            ema_decay=recipe.ema_decay,
        )


@dataclass(frozen=True)
class LossSettings:
    """The quantity that is minimized: keys of the recipe."""

    label_smoothing: float
    class_weights: bool
    mixup: float
    cutmix: float

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> "LossSettings":
        """Return the loss's settings of a recipe."""
        return cls(recipe.label_smoothing, recipe.class_weights, recipe.mixup, recipe.cutmix)


@dataclass(frozen=True)
class EvaluationSettings:
    """The measurement of accuracy.

    Attributes:
        training_samples: Whether the training samples are measured again after each epoch.
        tta: Test-time augmentation, without mirrored copies where these are of another class.
    """

    training_samples: bool
    tta: TestTimeAugmentation


@dataclass(frozen=True)
class MachineSettings:
    """The device and its arithmetic.

    Attributes:
        compute: Device, precision and memory format.
        compile: Whether the step is compiled, and how.
        parts: Parts of a batch.
        replicas: Parts that a process computes at the same time.
        reduction: How the parts' gradients are added.
        fast_layers: Whether layers that have a faster path take it.
    """

    compute: Compute
    compile: Literal["no", "yes", "cuda_graphs"]
    parts: int
    replicas: int
    reduction: Reduction
    fast_layers: bool

    @property
    def workers(self) -> int:
        """The threads of an evaluation, each of which computes whole batches; 0 for torch's number."""
        return self.replicas if self.parts > 1 else 0


@dataclass(frozen=True)
class Settings:
    """The settings of a training: a recipe resolved for a dataset and a machine."""

    images: Preprocessing
    augmentation: Augmentation
    sampling: SamplingSettings
    schedule: ScheduleSettings
    optimizer: OptimizerSettings
    initialization: Initialization
    loss: LossSettings
    evaluation: EvaluationSettings
    machine: MachineSettings


def resolve(recipe: Recipe, data: Dataset, images: Preprocessing | None = None) -> Settings:
    """Return the settings of a recipe for a dataset on this machine; the only place where `auto` is replaced.

    What depends on a network is not known here, and is replaced before: `image_size` (here the size as stored),
    `batch_size` (refused here) and `compile` (here off). `train` does so. So is what depends on the processes: `parts`
    (here 1) and `replicas` (here 1; see `parts.share_cores`).

    Args:
        recipe: How to train, as the user wrote it.
        data: A dataset that is split.
        images: How images reach the network, when published weights bring their own normalization.

    Raises:
        ConfigurationError: The recipe does not suit the data or the machine.
    """
    if isinstance(recipe.batch_size, str):
        raise ConfigurationError("batch_size=auto works in train() only; pass a number to fit()")
    compute = Compute.choose(recipe.device, recipe.precision, recipe.memory_format)
    sampling = SamplingSettings(
        batch_size=recipe.batch_size,
        samples=recipe.samples_per_epoch(len(data.train)),
        shuffle=recipe.shuffle,
        balanced=recipe.balanced_sampling,
        hardest=recipe.hardest_fraction < 1,
        alternating_flips=recipe.flip == "alternating",
        feature_views=0,
        seed=recipe.seed,
    )
    return Settings(
        images=images or resolve_images(recipe, data),
        augmentation=resolve_augmentation(recipe, data),
        sampling=sampling,
        schedule=ScheduleSettings.from_recipe(recipe, sampling.batches),
        optimizer=OptimizerSettings.from_recipe(recipe),
        initialization=recipe.initialization,
        loss=LossSettings.from_recipe(recipe),
        evaluation=EvaluationSettings(recipe.evaluate_training, resolve_tta(recipe, data)),
        machine=MachineSettings(
            compute=compute,
            compile="no" if recipe.compile == "auto" else recipe.compile,
            parts=1 if recipe.parts == "auto" else recipe.parts,
            replicas=1 if recipe.replicas == "auto" else recipe.replicas,
            reduction=recipe.reduction,
            fast_layers=recipe.fast_layers,
        ),
    )


def resolve_images(recipe: Recipe, data: Dataset) -> Preprocessing:
    """Return how the images of a dataset that is split reach the network; `image_size=auto` is their size as stored."""
    return Preprocessing.from_dataset(data, recipe.image_size, recipe.resize, recipe.scaling)


def resolve_augmentation(recipe: Recipe, data: Dataset) -> Augmentation:
    """Return the augmentation; `flip=auto` and `alternating` mirror images where a mirror image keeps its class."""
    side = min(data.shape[1:])
    for name in ("shift", "cutout"):
        if getattr(recipe, name) >= side:
            raise ConfigurationError(f"{name}={getattr(recipe, name)}: the images have only {side} px a side")
    return Augmentation(
        flip=data.flip_invariant if isinstance(recipe.flip, str) else recipe.flip,
        shift=recipe.shift,
        shift_padding=recipe.shift_padding,
        cutout=recipe.cutout,
        random_crop=recipe.random_crop,
        color_jitter=recipe.color_jitter,
        random_erasing=recipe.random_erasing,
    )


def resolve_tta(recipe: Recipe, data: Dataset) -> TestTimeAugmentation:
    """Return the test-time augmentation, without mirrored copies where a mirror image is of another class."""
    if data.flip_invariant or recipe.flip is True or recipe.tta in ("none", "shift"):
        return recipe.tta
    return "none" if recipe.tta == "flip" else "shift"


def split_by_recipe(data: Dataset, recipe: Recipe) -> Dataset:
    """Return the data with the validation and test splits that the recipe asks for."""
    if recipe.select_on_test and not data.is_split:
        if data.test is None:
            raise DataError(f"select_on_test: {data.name} has no test set")
        data = replace(data, validation=data.test)
    return split_dataset(
        data,
        validation_fraction="auto" if recipe.select_on_test else recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        method=recipe.split,
        seed=recipe.split_seed,
        train_samples=recipe.train_samples,
    )
