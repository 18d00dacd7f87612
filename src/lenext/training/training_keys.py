"""Keys of a recipe that say how long training is, how weights change, what is measured, and where it runs."""

from dataclasses import dataclass
from typing import Literal

from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import Device, MemoryFormat, Precision, Reduction, TestTimeAugmentation
from lenext.training.keys import COUNT, FRACTION, PROBABILITY, SEED, Auto, Limits, key

Compile = Literal["auto", "no", "yes", "cuda_graphs"]
Initialization = Literal["default", "xavier", "kaiming", "identity"]
Optimizer = Literal["sgd", "adamw", "muon"]
Schedule = Literal["constant", "linear", "cosine", "one_cycle"]


@dataclass(frozen=True)
class ScheduleKeys:
    """The length of training, and its learning rate."""

    epochs: int = key(10, "Number of epochs: passes over the training samples.", Limits(1))
    steps: int | Literal["all"] = key(
        "all", "Maximum number of optimizer updates; cuts the last epoch short; all: no limit but epochs.", Limits(1)
    )
    batch_size: int | Auto = key(
        128, "Samples per batch; auto: the largest power of two that fits into memory, up to 1,024.", Limits(1)
    )
    accumulate_batches: int = key(
        1, "Gradient accumulation: number of batches whose gradients are summed for one update; 1: off.", Limits(1)
    )
    learning_rate: float | Auto = key(
        "auto",
        "Peak learning rate, before the schedule scales it; auto: 0.05 for sgd, 0.001 for adamw and muon.",
        Limits(0, 1_000_000),
    )
    schedule: Schedule = key(
        "one_cycle",
        "Learning rate schedule: constant, linear or cosine (decay to zero), or one_cycle (rise, then decay).",
    )
    warmup_epochs: float = key(
        0.0, "Linear learning rate warmup over this many epochs (fractions allowed), before the schedule; 0: none.",
        COUNT,
    )  # fmt: skip
    early_stopping: int = key(
        0, "Early stopping: end after this many epochs without a better validation accuracy; 0: off.", COUNT
    )

    def check_schedule(self) -> None:
        """Refuse keys of the schedule that do not fit together."""
        if self.warmup_epochs and self.schedule == "one_cycle":
            raise ConfigurationError(
                "warmup_epochs: one_cycle has its own warmup; give schedule=cosine or constant with it"
            )
        if self.warmup_epochs > self.epochs:
            raise ConfigurationError(f"warmup_epochs={self.warmup_epochs}: more than the {self.epochs} epochs")


@dataclass(frozen=True)
class OptimizerKeys:
    """The change of the weights by their gradients."""

    optimizer: Optimizer = key(
        "sgd", "Optimizer: sgd, adamw, or muon (with AdamW for norms, biases and the last layer)."
    )
    momentum: float = key(0.9, "Momentum of sgd and muon, or beta1 of adamw.", FRACTION)
    nesterov: bool | Auto = key("auto", "Nesterov momentum, for sgd; auto: on for sgd with momentum.")
    keep_weight_norms: bool = key(
        False,
        "Muon: rescale each weight matrix to its initial norm before every update; for networks with normalization "
        "layers.",
    )
    newton_schulz_steps: int = key(
        5, "Muon: number of Newton-Schulz iterations that orthogonalize an update.", Limits(1, 20)
    )
    weight_decay: float | Auto = key(
        "auto", "Weight decay; auto: 0.0005 for sgd, 0.01 for adamw and muon.", Limits(0, 1_000_000)
    )
    decay_norms_and_biases: bool = key(False, "Apply weight decay to normalization layers and biases as well.")
    gradient_clip: float = key(0.0, "Clip gradients to this maximum norm; 0: off.", Limits(0, 1_000_000_000))
    ema_decay: float = key(
        0.0,
        "Exponential moving average (EMA) of the weights: its decay per update; evaluate and save the average; 0: off.",
        FRACTION,
    )
    initialization: Initialization = key(
        "default",
        "Weight initialization: default (the network's own), xavier (uniform), kaiming (normal) or identity "
        "(convolutions pass channels on).",
    )
    freeze_stem_after: float = key(
        1.0, "Freeze the first layer after this fraction of the epochs; 1: never.", PROBABILITY
    )
    seed: int = key(0, "Random seed of weights, order, augmentation and dropout.", SEED)

    def check_optimizer(self) -> None:
        """Refuse keys of the optimizer that do not fit together."""
        if self.keep_weight_norms and self.optimizer != "muon":
            raise ConfigurationError(f"keep_weight_norms=true: it is for optimizer=muon, not {self.optimizer}")
        if self.newton_schulz_steps != 5 and self.optimizer != "muon":
            raise ConfigurationError(f"newton_schulz_steps: it is for optimizer=muon, not {self.optimizer}")
        if self.decay_norms_and_biases and self.weight_decay == 0:
            raise ConfigurationError("decay_norms_and_biases: there is no weight_decay; give one, or leave it out")
        if self.nesterov is True and (self.optimizer != "sgd" or self.momentum == 0):
            raise ConfigurationError("nesterov=true: it needs optimizer=sgd and a momentum above 0")


@dataclass(frozen=True)
class LossKeys:
    """The quantity that is minimized."""

    label_smoothing: float = key(
        0.0, "Label smoothing: fraction of the target spread evenly over all classes; 0: off.", FRACTION
    )
    class_weights: bool = key(False, "Weight the loss by inverse class frequency, so that every class counts equally.")


@dataclass(frozen=True)
class EvaluationKeys:
    """The measurement of accuracy."""

    evaluate_training: bool = key(False, "Evaluate the training samples, too, after every epoch, in evaluation mode.")
    tta: TestTimeAugmentation = key(
        "none",
        "Test-time augmentation: average predictions over mirrored (flip; where the data allow it) and/or shifted "
        "copies of each image.",
    )


@dataclass(frozen=True)
class MachineKeys:
    """The device and its arithmetic, and what is saved during training."""

    device: Device = key("auto", "Device to train on; auto: cuda, else mps, else cpu.")
    precision: Precision = key(
        "auto",
        "Precision of the arithmetic, by autocast; weights stay fp32; auto: bf16 where the hardware has it, else fp16 "
        "on cuda, else fp32.",
    )
    memory_format: MemoryFormat = key(
        "auto", "Memory layout of images and weights; auto: channels_last, but contiguous on mps."
    )
    compile: Compile = key(
        "auto",
        "Compile the training step with torch.compile; cuda_graphs: also record CUDA graphs; auto: on a CPU, for runs "
        "long enough to gain by it.",
    )
    parts: int | Auto = key(
        "auto",
        "Parts that each batch is divided into, for threads and processes to share; each has its own batch norm and "
        "one thread of a CPU; auto: one for each process.",
        Limits(1, 4096),
    )
    replicas: int | Auto = key(
        "auto",
        "Parts that a process computes at the same time on a CPU, each by a replica of the network; changes no bit; "
        "auto: one for each core.",
        Limits(1, 256),
    )
    reduction: Reduction = key(
        "exact",
        "Addition of the parts' gradients: exact (in order, the same bits for any number of processes) or fast "
        "(all-reduce).",
    )
    fast_layers: bool = key(
        True, "On a CPU, compute some layers by faster formulas, equal up to rounding; no: only PyTorch's own layers."
    )
    checkpoint_minutes: float = key(
        10.0, "Minutes between checkpoints within an epoch; 0: checkpoints only at the end of an epoch.", COUNT
    )
    tensorboard: bool = key(False, "Log every epoch to TensorBoard as well; needs lenext[tensorboard].")
    threads: int | Auto = key(
        "auto",
        "Number of CPU threads; results repeat bit for bit with the same number; auto: chosen by PyTorch.",
        Limits(1, 4096),
    )

    def check_machine(self) -> None:
        """Refuse keys of the machine that do not fit together."""
        if self.parts in ("auto", 1):
            return  # `auto` is checked once the processes are known
        if self.compile in ("yes", "cuda_graphs"):
            raise ConfigurationError(f"parts={self.parts}: they cannot be compiled; leave out compile={self.compile}")
