"""The plan of a training, in words, before it begins."""

from collections.abc import Sequence

from lenext.data.batches import batch_slices
from lenext.models import find_variant
from lenext.training.recipe import Recipe
from lenext.workflows.job import Job
from lenext.workflows.timing import forecast

TRAINING_KEYS = (
    "keep_weight_norms", "newton_schulz_steps", "freeze_stem_after", "accumulate_batches", "ema_decay",
    "label_smoothing", "class_weights", "gradient_clip", "initialization",
)  # fmt: skip
SAMPLING_KEYS = ("mixup", "cutmix", "balanced_sampling", "hardest_fraction", "progressive_resizing", "tta")


def describe_job(job: Job, processes: int = 1) -> dict[str, str]:
    """Return what will be done, by subject, by so many processes."""
    recipe, settings, data = job.recipe, job.settings, job.data
    shape = " x ".join(map(str, settings.images.input_shape))
    early = f", early stopping after {recipe.early_stopping}" if recipe.early_stopping else ""
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits().items())
    return {
        "network": describe_network(job),
        "data": f"{data.name}: {sizes} images",
        "split": describe_split(job),
        "recipe": f"{recipe.optimizer}, learning rate {settings.schedule.peak:g} ({recipe.schedule}), "
        f"{describe_length(job)} of batches of {recipe.batch_size}{early}{changed_keys(recipe, TRAINING_KEYS)}, "
        f"seed {recipe.seed}",
        "images": f"{shape}, {len(data.classes)} classes; scaling {recipe.scaling}; "
        f"augmentation: {settings.augmentation.describe()}{changed_keys(recipe, SAMPLING_KEYS)}",
        "device": describe_machine(job),
        "time": forecast(job, processes),
    }


def describe_network(job: Job) -> str:
    """Return the network with its source, its weights and its size."""
    name = job.experiment.network or type(job.network).__name__
    source = "" if job.has_user_network else f" ({find_variant(name).source})"
    source += f", pretrained ({job.experiment.pretrained})" if job.experiment.pretrained else ""
    return f"{name}{source}: {sum(parameter.numel() for parameter in job.network.parameters()):,} parameters"


def describe_split(job: Job) -> str:
    """Return where the validation and test samples come from."""
    recipe, data = job.recipe, job.data
    held_out = f"taken out of train ({recipe.split}, seed {recipe.split_seed})"
    if recipe.select_on_test:
        return "no validation: the test set is measured after every epoch, and selects (select_on_test)"
    sources = {
        name: "none" if split is None else (held_out if name in data.held_out else "the source's own")
        for name, split in (("validation", data.validation), ("test", data.test))
    }
    return f"validation {sources['validation']}; test {sources['test']}"


def describe_length(job: Job) -> str:
    """Return the number of epochs, or of steps."""
    length = job.settings.schedule.length
    if job.recipe.steps == "all":
        return f"{job.recipe.epochs} epochs"
    return f"{length.updates:,} steps ({length.updates / length.updates_per_epoch:.2f} epochs)"


def describe_machine(job: Job) -> str:
    """Return where training runs."""
    compiled = ", compiled" if job.recipe.compile != "no" else ""
    machine, parts = job.settings.machine, ""
    if machine.parts > 1:
        at_once = f", {machine.replicas} at a time" if job.compute.device.type == "cpu" else ""
        parts = f", batches in {machine.parts} parts{at_once}"
    layers = "" if job.recipe.fast_layers else ", only PyTorch's layers"
    return job.compute.describe() + compiled + parts + layers


def changed_keys(recipe: Recipe, names: Sequence[str]) -> str:
    """Return those of these keys that differ from their defaults."""
    values = {name: getattr(recipe, name) for name in names}
    return "".join(f", {name} {value}" for name, value in values.items() if value != getattr(Recipe, name))


def job_notes(job: Job) -> list[str]:
    """Return what else the user should know before training, one line each."""
    settings, notes = job.settings, list[str]()
    batch_size = settings.sampling.batch_size
    last = batch_slices(settings.sampling.samples, batch_size)[-1]
    if last.stop - last.start == batch_size + 1:
        notes.append(f"the last batch has {batch_size + 1} images; one alone breaks batch norm")
    if settings.images.network_channels > settings.images.channels:
        notes.append("the weights are for colour; grey images are repeated to three channels")
    if settings.sampling.hardest:
        notes.append(
            f"an epoch is of the {settings.sampling.samples:,} hardest images; its training figures are of these alone"
        )
    if settings.machine.reduction == "fast":
        notes.append("reduction=fast: another number of processes gives other bits")
    frozen = sum(parameter.numel() for parameter in job.network.parameters() if not parameter.requires_grad)
    if frozen:
        notes.append(f"{frozen:,} parameters are frozen; {job.frozen}")
    return [*notes, *job.data.notes]
