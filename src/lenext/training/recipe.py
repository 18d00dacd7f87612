"""The Recipe, how to train, and the Experiment, what to train on what: both flat, frozen, and to and from YAML."""

import errno
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import yaml

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import read_regular
from lenext.foundation.settings import (
    Device,
    Fraction,
    MemoryFormat,
    Method,
    OnBadImage,
    Precision,
    Resize,
    Scaling,
    ShiftPadding,
    TestTimeAugmentation,
    convert,
)

Auto = Literal["auto"]


class Length(NamedTuple):
    """The length of a training, in updates of the weights."""

    updates_per_epoch: int
    updates: int

    @property
    def epochs(self) -> int:
        """The number of epochs; the last one may be cut short."""
        return math.ceil(self.updates / self.updates_per_epoch)


def key(default: Any, group: str, about: str) -> Any:
    """A setting with its help; the command line is made from these."""
    return field(default=default, metadata={"group": group, "about": about})


@dataclass(frozen=True)
class Recipe:
    """How to train. `auto` is settled by the network, the data, the optimizer or the machine, and then stated."""

    image_size: int | Auto = key("auto", "Images", "pixels a side that the network is given; auto: what it is made for")
    resize: Resize = key("interpolate", "Images", "interpolate, pad with black, or crop the middle")
    scaling: Scaling = key(
        "standardize", "Images", "by mean and deviation of the training images, to 0..1, to -1..1, or raw 0..255"
    )

    train_samples: int | Literal["all"] = key("all", "Samples", "how many images to train on")
    validation_fraction: Fraction = key(
        "auto", "Samples", "share of the training images kept for validation; auto: 0.1"
    )
    test_fraction: Fraction = key("auto", "Samples", "share kept as test set where the data have none; auto: 0.2")
    split: Method = key("stratified", "Samples", "how these are chosen: by class, at random, or the last ones")
    split_seed: int = key(0, "Samples", "seed of that choice; the other seed leaves it alone")
    select_on_test: bool = key(
        False, "Samples", "measure the test set after every epoch, as the documents do; the run then says so"
    )
    shuffle: bool = key(True, "Samples", "a new order in each epoch, or always that of the data")

    flip: bool | Literal["auto", "alternating"] = key(
        "auto",
        "Augmentation",
        "mirror half of the images; auto, alternating: where the data allow it, the latter each in every other epoch",
    )
    shift: int = key(0, "Augmentation", "move each image by up to so many of its pixels")
    shift_padding: ShiftPadding = key(
        "black", "Augmentation", "what a shift brings in: black, or the image's edge, reflected"
    )
    random_crop: float = key(1.0, "Augmentation", "scale a box of at least this share of the area to the whole; 1: off")
    color_jitter: float = key(0.0, "Augmentation", "brightness, contrast, saturation times 1 - this to 1 + this")
    cutout: int = key(0, "Augmentation", "blank a square of so many pixels a side")
    random_erasing: float = key(0.0, "Augmentation", "how often a box of 2 to 33 % of the area is blanked")
    mixup: float = key(0.0, "Augmentation", "mix images of a batch; both parameters of the Beta distribution; 0: off")
    cutmix: float = key(0.0, "Augmentation", "put a box of one image on another; as mixup; both: by turns")
    balanced_sampling: bool = key(False, "Augmentation", "draw every class as often as any other")
    hardest_fraction: float = key(
        1.0,
        "Augmentation",
        "share of the training images that an epoch takes, those that were hardest when last seen",
    )
    progressive_resizing: float = key(
        1.0, "Augmentation", "share of the image size to begin with; all of it after two thirds"
    )

    epochs: int = key(10, "Optimization", "passes over the training images")
    steps: int | Literal["all"] = key(
        "all", "Optimization", "updates in all, the last epoch cut short; all: those of the epochs"
    )
    batch_size: int | Auto = key(128, "Optimization", "images a step; auto: as many as memory allows, up to 1,024")
    accumulate_batches: int = key(1, "Optimization", "batches whose gradients are summed up for an update")
    optimizer: Literal["sgd", "adamw", "muon"] = key("sgd", "Optimization", "stochastic gradient descent, AdamW, Muon")
    learning_rate: float | Auto = key("auto", "Optimization", "the highest rate; auto: 0.05 for sgd, else 0.001")
    momentum: float = key(0.9, "Optimization", "momentum of sgd and muon, or adamw's first beta")
    keep_weight_norms: bool = key(
        False, "Optimization", "muon: scale each matrix back to the length it began with, for networks with norms"
    )
    newton_schulz_steps: int = key(5, "Optimization", "muon: iterations that make a matrix orthogonal")
    nesterov: bool | Auto = key("auto", "Optimization", "look ahead by Nesterov's rule; auto: for sgd with momentum")
    weight_decay: float | Auto = key("auto", "Optimization", "auto: 0.0005 for sgd, else 0.01")
    decay_norms_and_biases: bool = key(False, "Optimization", "apply weight decay to norms and biases too")
    schedule: Literal["constant", "linear", "cosine", "one_cycle"] = key(
        "one_cycle", "Optimization", "how the rate goes"
    )
    warmup_epochs: float = key(0.0, "Optimization", "epochs of linear rise before the schedule")
    label_smoothing: float = key(0.0, "Optimization", "share of the target spread over all classes")
    class_weights: bool = key(False, "Optimization", "count every class as much as any other in the loss")
    ema_decay: float = key(
        0.0, "Optimization", "decay of an average of the weights, which is then measured and kept; 0: off"
    )
    gradient_clip: float = key(0.0, "Optimization", "largest norm of the gradient; 0: any")
    initialization: Literal["default", "xavier", "kaiming", "identity"] = key(
        "default", "Optimization", "of weights: the network's own, Xavier uniform, Kaiming normal, or the identity"
    )
    freeze_stem_after: float = key(
        1.0, "Optimization", "share of the epochs in which the first layer learns; then it is held, which saves time"
    )
    early_stopping: int = key(0, "Optimization", "stop after so many epochs without a better validation; 0: never")
    evaluate_training: bool = key(False, "Optimization", "measure the training images again, in evaluation mode")
    tta: TestTimeAugmentation = key(
        "none",
        "Optimization",
        "of an image, averaged over in test figures and `val`: mirrored (where the data allow it), moved",
    )
    seed: int = key(0, "Optimization", "of the weights, the order, the augmentation and dropout")

    device: Device = key("auto", "Machine", "where to compute")
    precision: Precision = key("auto", "Machine", "of the arithmetic; the weights stay fp32")
    memory_format: MemoryFormat = key("auto", "Machine", "how images lie in memory")
    compile: Literal["auto", "no", "yes", "cuda_graphs"] = key(
        "auto", "Machine", "torch.compile the step; auto: in runs long enough to win by it; cuda_graphs: on NVIDIA GPUs"
    )
    replicas: int = key(
        1, "Machine", "of the network, that share a batch out on a CPU; batch norm is over a replica's part of it"
    )
    checkpoint_minutes: float = key(
        10.0, "Machine", "between checkpoints within an epoch; 0: at the ends of epochs alone"
    )
    tensorboard: bool = key(False, "Machine", "write the records for TensorBoard, too (extra `tensorboard`)")
    threads: int | Auto = key("auto", "Machine", "of the CPU; the same count gives the same bits")

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(Recipe)):
            object.__setattr__(self, name, value_of_key(name, getattr(self, name)))
        if self.select_on_test and self.validation_fraction not in ("auto", 0):
            raise ConfigurationError("select_on_test: the test set takes the place of validation; leave its fraction")
        if self.early_stopping and self.validation_fraction == 0 and not self.select_on_test:
            raise ConfigurationError("early_stopping needs a validation set; leave out validation_fraction=0")
        if self.balanced_sampling and self.class_weights:
            raise ConfigurationError("class_weights: balanced_sampling does the same already; give one of them")
        if self.replicas > 1 and self.compile in ("yes", "cuda_graphs"):
            raise ConfigurationError(f"replicas: they cannot be compiled; leave out compile={self.compile}")
        if self.freeze_stem_after < 1 and self.compile in ("yes", "cuda_graphs"):
            raise ConfigurationError(f"freeze_stem_after: the step changes half-way; leave out compile={self.compile}")
        if self.replicas > 1 and self.class_weights:
            raise ConfigurationError("replicas: a part of a batch has other classes; leave out class_weights")
        if self.keep_weight_norms and self.optimizer != "muon":
            raise ConfigurationError(f"keep_weight_norms=true: it is for optimizer=muon, not {self.optimizer}")
        if self.newton_schulz_steps != 5 and self.optimizer != "muon":
            raise ConfigurationError(f"newton_schulz_steps: it is for optimizer=muon, not {self.optimizer}")
        if self.compile == "cuda_graphs" and self.accumulate_batches > 1:
            raise ConfigurationError("compile=cuda_graphs: it cannot sum up gradients; leave out accumulate_batches")
        if self.progressive_resizing < 1 and self.resize != "interpolate":
            raise ConfigurationError(f"progressive_resizing: it scales images; leave out resize={self.resize}")
        if self.balanced_sampling and self.hardest_fraction < 1:
            raise ConfigurationError("hardest_fraction: balanced_sampling draws the images already; give one of them")
        if self.balanced_sampling and not self.shuffle:
            raise ConfigurationError("balanced_sampling: it draws at random; leave out shuffle=false")
        if self.warmup_epochs and self.schedule == "one_cycle":
            raise ConfigurationError(
                "warmup_epochs: one_cycle rises by itself; give schedule=cosine or constant with it"
            )
        if self.warmup_epochs > self.epochs:
            raise ConfigurationError(
                f"warmup_epochs={self.warmup_epochs}: more than the {self.epochs} epochs there are"
            )
        if self.shift_padding != "black" and not self.shift:
            raise ConfigurationError(
                f"shift_padding={self.shift_padding}: it is what a shift brings in; give shift with it"
            )
        if self.decay_norms_and_biases and self.weight_decay == 0:
            raise ConfigurationError("decay_norms_and_biases: there is no weight_decay; give one, or leave it out")
        if self.split == "ordered" and self.split_seed:
            raise ConfigurationError("split_seed: split=ordered draws nothing; leave one of them out")
        if self.progressive_resizing < 1 and self.epochs == 1:
            raise ConfigurationError(
                "progressive_resizing: the last epoch has whole images, so it needs at least 2 epochs"
            )
        if self.nesterov is True and (self.optimizer != "sgd" or self.momentum == 0):
            raise ConfigurationError("nesterov=true: it needs optimizer=sgd and a momentum above 0")

    def with_defaults(self) -> "Recipe":
        """Return the recipe with the optimizer's `auto` keys as numbers."""
        sgd = self.optimizer == "sgd"
        rate = (0.05 if sgd else 1e-3) if self.learning_rate == "auto" else self.learning_rate
        decay = (5e-4 if sgd else 1e-2) if self.weight_decay == "auto" else self.weight_decay
        nesterov = (sgd and self.momentum > 0) if self.nesterov == "auto" else self.nesterov
        return replace(self, learning_rate=rate, weight_decay=decay, nesterov=nesterov)

    def samples_per_epoch(self, count: int) -> int:
        """Return the number of samples per epoch, given the size of the training set."""
        return max(min(2, count), round(self.hardest_fraction * count))

    def length(self, batches: int) -> "Length":
        """Return the length of the training in updates, given the number of batches per epoch."""
        per_epoch = math.ceil(batches / self.accumulate_batches)
        updates = per_epoch * self.epochs
        return Length(per_epoch, updates if self.steps == "all" else min(self.steps, updates))

    def with_keys(self, settings: Mapping[str, object]) -> "Recipe":
        """Return the recipe with these keys changed; a new optimizer brings its own learning rate and weight decay.

        Raises:
            ConfigurationError: A key or a value does not exist.
        """
        known = [one.name for one in fields(Recipe)]
        for name in settings:
            if name not in known:
                raise ConfigurationError(unknown_name("recipe key", name, known))
        new = dict(settings)
        if new.get("optimizer", self.optimizer) != self.optimizer:
            own = {"learning_rate": "auto", "weight_decay": "auto", "nesterov": "auto", "momentum": 0.9}
            new = own | {"keep_weight_norms": False, "newton_schulz_steps": 5} | new
        if "momentum" in settings and "nesterov" not in settings:
            new["nesterov"] = "auto"  # it may have been settled for another momentum
        for key, value, follows in (  # what a key makes void is not kept from the recipe before
            ("schedule", "one_cycle", {"warmup_epochs": 0.0}),
            ("shift", 0, {"shift_padding": "black"}),
            ("weight_decay", 0, {"decay_norms_and_biases": False}),
            ("split", "ordered", {"split_seed": 0}),
            ("epochs", 1, {"progressive_resizing": 1.0}),
        ):
            new = follows | new if key in new and new[key] == value else new
        return replace(self, **new)  # type: ignore[arg-type]


NOT_FOR_FEW_STEPS = (
    "hardest_fraction", "progressive_resizing", "epochs", "steps", "learning_rate", "schedule", "warmup_epochs",
    "ema_decay", "freeze_stem_after", "early_stopping", "evaluate_training", "tta", "compile", "replicas",
    "checkpoint_minutes", "tensorboard",
)  # fmt: skip
"""Keys that have no effect on the search for a learning rate: a few steps at rising rates."""

INFINITE = float("inf")
LIMITS: dict[str, tuple[str, float, float]] = {
    "image_size": ("from 1 to 4096", 1, 4096),
    "train_samples": ("at least 2", 2, INFINITE),
    "validation_fraction": ("from 0 to below 1", 0, 0.999),
    "test_fraction": ("from 0 to below 1", 0, 0.999),
    "split_seed": ("from 0 to 2^63 - 1", 0, 2**63 - 1),
    "shift": ("0 or more", 0, INFINITE),
    "cutout": ("0 or more", 0, INFINITE),
    "random_crop": ("from 0.01 to 1", 0.01, 1),
    "color_jitter": ("from 0 to 1", 0, 1),
    "random_erasing": ("from 0 to 1", 0, 1),
    "mixup": ("from 0 to 100", 0, 100),
    "cutmix": ("from 0 to 100", 0, 100),
    "hardest_fraction": ("from 0.01 to 1", 0.01, 1),
    "progressive_resizing": ("from 0.1 to 1", 0.1, 1),
    "accumulate_batches": ("at least 1", 1, INFINITE),
    "ema_decay": ("from 0 to below 1", 0, 0.999999),
    "epochs": ("at least 1", 1, INFINITE),
    "steps": ("at least 1", 1, INFINITE),
    "batch_size": ("at least 1", 1, INFINITE),
    "learning_rate": ("from 0 to 1,000,000", 0, 1e6),
    "momentum": ("from 0 to below 1", 0, 0.99999),
    "weight_decay": ("from 0 to 1,000,000", 0, 1e6),
    "newton_schulz_steps": ("from 1 to 20", 1, 20),
    "freeze_stem_after": ("from 0 to 1", 0, 1),
    "warmup_epochs": ("0 or more", 0, INFINITE),
    "label_smoothing": ("from 0 to below 1", 0, 0.999),
    "gradient_clip": ("from 0 to 1e9", 0, 1e9),
    "early_stopping": ("0 or more", 0, INFINITE),
    "seed": ("from 0 to 2^63 - 1", 0, 2**63 - 1),
    "checkpoint_minutes": ("0 or more", 0, INFINITE),
    "replicas": ("from 1 to 256", 1, 256),
    "threads": ("from 1 to 4096", 1, 4096),
}


@cache
def kinds() -> dict[str, Any]:
    """The types of the keys of a Recipe."""
    return get_type_hints(Recipe)


def value_of_key(name: str, value: object) -> Any:
    """A value as its key's type. Raises ConfigurationError where it cannot be, whatever the other keys are."""
    found = convert(name, value, kinds()[name])
    if name in LIMITS and not isinstance(found, str):
        allowed, least, most = LIMITS[name]
        if not least <= found <= most:
            raise ConfigurationError(f"{name}={found}: it must be {allowed}")
    return found


@dataclass(frozen=True)
class Experiment:
    """A network with its options, the data, and a Recipe: all that a run is made from.

    network: a name of MODELS, or FILE.py:Class. pretrained: `imagenet` for published weights, or a file of weights.
    freeze: parts that do not learn, comma-separated; `backbone` is all but the last layer.
    data, test_data: names of DATASETS, or paths. label_column: of a CSV.
    """

    network: str = "lenet"
    options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    freeze: str = ""
    data: str = "digits"
    test_data: str = ""
    label_column: str = "auto"
    on_bad_image: OnBadImage = "stop"
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Experiment).items():
            if name not in ("options", "recipe"):
                object.__setattr__(self, name, convert(name, getattr(self, name), kind))

    def to_yaml(self) -> str:
        """As `from_yaml` reads it; tuples become lists."""
        plain = asdict(self) | {"options": {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}}
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        exact = yaml.safe_load(text) == plain  # but for line ends of other scripts, which are escaped then
        return text if exact else yaml.safe_dump(plain, sort_keys=False)


MOST_BYTES = 1 << 16  # of a recipe


class EachKeyOnce(yaml.SafeLoader):
    """Plain YAML in which no key is set twice, and nothing refers to another place: so a few lines become giants."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        seen: set[object] = set()
        for key in keys:
            if not isinstance(key, Hashable) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is set twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_settings(path: Path) -> dict[str, Any]:
    """What a YAML file sets: keys of an Experiment, and under `recipe` (or beside them) keys of a Recipe.

    Raises ConfigurationError, naming the file, for whatever else is in it.
    """
    try:
        found = yaml.load(read_regular(path, MOST_BYTES).decode(), EachKeyOnce)
    except (OSError, UnicodeDecodeError) as error:
        large = isinstance(error, OSError) and error.errno == errno.EFBIG
        what = "larger than any recipe" if large else f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ConfigurationError(f"{path}: {what}; a recipe is lines of `key: value`") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: a recipe is lines of `key: value`; this is not")
    inner = found.pop("recipe", None) or {}
    if not isinstance(inner, dict):
        raise ConfigurationError(f"{path}: under `recipe:` there must be lines of `key: value`")
    outer_keys = [one.name for one in fields(Experiment) if one.name != "recipe"]
    recipe_keys = [one.name for one in fields(Recipe)]
    for name in [*found, *inner]:
        if name not in (recipe_keys if name in inner else outer_keys + recipe_keys):
            raise ConfigurationError(f"{path}: {unknown_name('key', str(name), outer_keys + recipe_keys)}")
    options = found.get("options") or {}
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ConfigurationError(f"{path}: under `options:` there must be lines of `option: value`")
    hints = get_type_hints(Experiment)
    settings = {name: value for name, value in found.items() if name in outer_keys} | {"options": options}
    try:
        for name in settings.keys() - {"options"}:
            settings[name] = convert(name, settings[name], hints[name])
        given = {name: value for name, value in found.items() if name in recipe_keys} | inner
        for name, value in given.items():
            value_of_key(name, value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return settings | {"recipe": given}
