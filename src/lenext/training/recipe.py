"""The recipe: how to train, as the user writes it. Flat, frozen, with `auto`.

Its keys are declared in groups (`data_keys`, `training_keys`). Each group checks what its own keys must have in common;
the recipe checks what keys of several groups must. `settings.resolve` turns a recipe into settings without `auto`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.training.data_keys import AugmentationKeys, ImageKeys, SamplingKeys, SplitKeys
from lenext.training.keys import convert_key
from lenext.training.training_keys import EvaluationKeys, LossKeys, MachineKeys, OptimizerKeys, ScheduleKeys

GROUPS: dict[str, type] = {
    "Images": ImageKeys,
    "Split": SplitKeys,
    "Sampling": SamplingKeys,
    "Augmentation": AugmentationKeys,
    "Schedule": ScheduleKeys,
    "Optimizer": OptimizerKeys,
    "Loss": LossKeys,
    "Evaluation": EvaluationKeys,
    "Machine": MachineKeys,
}
"""The groups of keys, by their title on the command line."""

LEARNING_RATES = {"sgd": 0.05, "adamw": 1e-3, "muon": 1e-3}
WEIGHT_DECAYS = {"sgd": 5e-4, "adamw": 1e-2, "muon": 1e-2}

NOT_FOR_FEW_STEPS = (
    "hardest_fraction", "progressive_resizing", "epochs", "steps", "learning_rate", "schedule", "warmup_epochs",
    "ema_decay", "freeze_stem_after", "early_stopping", "evaluate_training", "tta", "compile", "parts",
    "replicas", "reduction", "checkpoint_minutes", "tensorboard", "feature_views",
)  # fmt: skip
"""Keys without effect on the search for a learning rate: a few steps at rising rates."""


class Length(NamedTuple):
    """The length of a training, in updates of the weights."""

    updates_per_epoch: int
    updates: int

    @property
    def epochs(self) -> int:
        """The number of epochs; the last one may be cut short."""
        return math.ceil(self.updates / self.updates_per_epoch)


@dataclass(frozen=True)
class Recipe(  # dataclass takes the fields of the last base first
    MachineKeys,
    EvaluationKeys,
    LossKeys,
    OptimizerKeys,
    ScheduleKeys,
    AugmentationKeys,
    SamplingKeys,
    SplitKeys,
    ImageKeys,
):
    """A recipe: how to train. The network, the data, the optimizer or the machine replaces a key that is `auto`."""

    def __post_init__(self) -> None:
        for name in key_names():
            object.__setattr__(self, name, key_value(name, getattr(self, name)))
        self.check_split()
        self.check_sampling()
        self.check_augmentation()
        self.check_schedule()
        self.check_optimizer()
        self.check_machine()
        self.check_across_groups()

    def check_across_groups(self) -> None:
        """Refuse keys of different groups that do not fit together."""
        if self.early_stopping and self.validation_fraction == 0 and not self.select_on_test:
            raise ConfigurationError("early_stopping needs a validation set; leave out validation_fraction=0")
        if self.balanced_sampling and self.class_weights:
            raise ConfigurationError("class_weights: balanced_sampling does the same already; give one of them")
        if self.freeze_stem_after < 1 and self.compile in ("yes", "cuda_graphs"):
            raise ConfigurationError(f"freeze_stem_after: the step changes half-way; leave out compile={self.compile}")
        if self.compile == "cuda_graphs" and self.accumulate_batches > 1:
            raise ConfigurationError("compile=cuda_graphs: it cannot sum up gradients; leave out accumulate_batches")
        if self.progressive_resizing < 1 and self.resize != "interpolate":
            raise ConfigurationError(f"progressive_resizing: it scales images; leave out resize={self.resize}")
        if self.progressive_resizing < 1 and self.epochs == 1:
            raise ConfigurationError(
                "progressive_resizing: the last epoch has images of full size, so it needs at least 2 epochs"
            )

    def with_defaults(self) -> "Recipe":
        """Return the recipe with the optimizer's `auto` keys as numbers."""
        rate = LEARNING_RATES[self.optimizer] if self.learning_rate == "auto" else self.learning_rate
        decay = WEIGHT_DECAYS[self.optimizer] if self.weight_decay == "auto" else self.weight_decay
        nesterov = (self.optimizer == "sgd" and self.momentum > 0) if self.nesterov == "auto" else self.nesterov
        return replace(self, learning_rate=rate, weight_decay=decay, nesterov=nesterov)

    def with_keys(self, keys: Mapping[str, object]) -> "Recipe":
        """Return the recipe with these keys changed.

        A new optimizer brings its own learning rate and weight decay, and a key that makes others void resets them.

        Raises:
            ConfigurationError: A key or a value does not exist, or keys do not fit together.
        """
        for name in keys:
            if name not in key_names():
                raise ConfigurationError(unknown_name("recipe key", name, key_names()))
        resets: dict[str, object] = {}
        if keys.get("optimizer", self.optimizer) != self.optimizer:
            resets = dict.fromkeys(("learning_rate", "weight_decay", "nesterov"), "auto")
            resets |= {"momentum": 0.9, "keep_weight_norms": False, "newton_schulz_steps": 5}
        if "momentum" in keys:
            resets["nesterov"] = "auto"  # its number may be that of another momentum
        for name, value, void in VOID_KEYS:
            if name in keys and keys[name] == value:
                resets |= void
        return replace(self, **resets | dict(keys))  # type: ignore[arg-type]

    def samples_per_epoch(self, count: int) -> int:
        """Return the number of samples per epoch, given the size of the training set."""
        return max(min(2, count), round(self.hardest_fraction * count))

    def length(self, batches: int) -> Length:
        """Return the length of the training, given the number of batches per epoch."""
        per_epoch = math.ceil(batches / self.accumulate_batches)
        updates = per_epoch * self.epochs
        return Length(per_epoch, updates if self.steps == "all" else min(self.steps, updates))


VOID_KEYS: tuple[tuple[str, object, dict[str, object]], ...] = (
    ("schedule", "one_cycle", {"warmup_epochs": 0.0}),
    ("shift", 0, {"shift_padding": "black"}),
    ("weight_decay", 0, {"decay_norms_and_biases": False}),
    ("split", "ordered", {"split_seed": 0}),
    ("epochs", 1, {"progressive_resizing": 1.0}),
)
"""A key, the value with which it makes other keys void, and their defaults."""


@cache
def key_names() -> tuple[str, ...]:
    """Return the names of all keys, in the order of their groups."""
    return tuple(declaration.name for declaration in fields(Recipe))


@cache
def group_of(name: str) -> str:
    """Return the title of a key's group."""
    return next(title for title, group in GROUPS.items() if name in group.__dataclass_fields__)  # type: ignore[attr-defined]


@cache
def key_types() -> dict[str, Any]:
    """Return the type of each key."""
    return get_type_hints(Recipe)


def key_value(name: str, value: object) -> Any:
    """Return a value in the type of its key.

    Raises:
        ConfigurationError: The value does not suit the key, whatever the other keys are.
    """
    return convert_key(Recipe.__dataclass_fields__[name], key_types()[name], value)
