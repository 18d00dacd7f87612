"""The trainer: an epoch of training steps, each from a batch to its gradients; an update ends with new weights."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

from torch import nn

from lenext.acceleration.compilation import compile_step
from lenext.data.batches import Batch, move_to_device, training_batches
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.group import Group
from lenext.foundation.seeds import seed_step
from lenext.training.diagnosis import FiniteMonitor, explain
from lenext.training.epoch_plan import EpochPlan, plan_epoch
from lenext.training.feature_store import FeatureStore
from lenext.training.frozen import separate, set_training_mode
from lenext.training.losses import CrossEntropy, Loss, Objective, batch_weight, build_loss
from lenext.training.metrics import batch_metrics, sample_losses
from lenext.training.parts import Parts, StepResult, part_slices
from lenext.training.selection import Selection
from lenext.training.settings import Settings
from lenext.training.state import Step, TrainingState
from lenext.training.update import NotFiniteError


class Trainer:
    """Trains a network on the training samples of a dataset, epoch by epoch."""

    def __init__(
        self,
        state: TrainingState,
        data: Dataset,
        settings: Settings,
        loss: Loss | None = None,
        group: Group | None = None,
    ) -> None:
        """Prepare the step.

        Args:
            state: What is trained; it is changed in place.
            data: A dataset that is split.
            settings: How it is trained.
            loss: Used instead of settings.loss.
            group: The processes that share each batch; this one alone by default.

        Raises:
            ConfigurationError: The network and the settings do not fit together.
        """
        self.state, self.settings, self.group = state, settings, group or Group()
        self.split = move_to_device(data.train, state.compute)
        self.loss = loss or build_loss(settings.loss, self.split.labels.to(state.compute.device), len(data.classes))
        self.features: FeatureStore | None = None
        if settings.sampling.feature_views:
            self.features = FeatureStore(separate(state.network, self.split, settings, self.loss), self.split, settings)
        self.single_step = Objective(self.features.backbone.tail if self.features else state.network, self.loss)
        machine, batch_size = settings.machine, settings.sampling.batch_size
        self.step = compile_step(self.single_step, machine.compile, machine.compute)
        self.parts: Parts | None = None
        if machine.parts > 1:
            self.parts = Parts(state.network, self.loss, machine, self.group)
        is_plain = isinstance(self.loss, CrossEntropy) and self.loss.is_plain(state.network)
        # with CUDA graphs the next step overwrites the memory of this step's loss
        self.reports_loss = is_plain and machine.compile != "cuda_graphs"
        self.monitor = FiniteMonitor(state, by_clock=self.group.size == 1)
        check_batch_norm(state.network, batch_size)

    def train_epoch(self, epoch: int) -> Iterator[Step]:
        """Train an epoch from the saved position of the state, and yield a Step after each batch."""
        state, progress, plan = self.state, self.state.progress, self.plan(epoch)
        started = time.perf_counter() - progress.seconds  # a resumed epoch counts its earlier seconds
        set_training_mode(state.network)
        if self.features and progress.position < plan.batches:
            yield from self.features.fill(epoch)
        with stem_trained(state.network, plan.trains_stem):
            for position, batch in self.batches(plan, progress.position):
                with self.diagnosed(plan, position):
                    result, rate = self.forward(plan, position, batch), plan.learning_rates[position]
                    state.update(result.loss, rate, plan.shares[position], plan.ends_update[position])
                    samples = plan.slices[position]
                    if state.selection and result.losses is not None:
                        state.selection.record_losses(plan.order.rows[samples], result.losses)
                    figures = len(plan.order.rows[samples]), result.mean_loss, result.correct
                    step = Step("train", epoch, position, plan.batches, *figures, rate)
                    progress.add(step, time.perf_counter() - started)
                    self.monitor.after_step(is_last=step.is_last)
                yield step

    def plan(self, epoch: int) -> EpochPlan:
        """Return the plan of an epoch; at its beginning, choose its samples when it takes the hardest ones."""
        state, settings = self.state, self.settings
        if settings.sampling.hardest:
            state.selection = state.selection or Selection.begin(len(self.split), state.compute.device)
            if len(state.selection.losses) != len(self.split):
                count = len(state.selection.losses)
                raise RunError(f"the checkpoint is of {count} training samples, not of {len(self.split)}")
            if not state.progress.position:
                state.selection.choose(settings.sampling.samples, settings.sampling.seed, epoch)
        rows = state.selection.rows if state.selection else None
        return plan_epoch(settings, epoch, self.split, rows, partial(batch_weight, self.loss))

    def batches(self, plan: EpochPlan, start: int) -> Iterator[tuple[int, Batch]]:
        """Yield the batches of an epoch with their positions, from `start` on; features where these are stored."""
        if self.features:
            return enumerate(self.features.batches(plan, start), start)
        return self.image_batches(plan, start, self.own_samples if self.group.size > 1 else None)

    def own_samples(self, batch: slice) -> slice:
        """Return those of a batch's samples whose parts this process computes."""
        slices = part_slices(batch.stop - batch.start, self.settings.machine.parts)
        own = [slices[number] for number in self.group.owned(len(slices))]
        return slice(batch.start + own[0].start, batch.start + own[-1].stop) if own else slice(batch.start, batch.start)

    def image_batches(
        self, plan: EpochPlan, start: int, select: Callable[[slice], slice] | None = None
    ) -> Iterator[tuple[int, Batch]]:
        """Yield the batches of images of an epoch with their positions; `select` takes some samples of each."""
        order = self.features.order_of_images(plan) if self.features else plan.order
        loaded = training_batches(
            self.split, order, plan.images, self.settings.augmentation, self.state.compute,
            self.settings.sampling.batch_size, start=start, select=select,
        )  # fmt: skip
        return enumerate(islice(loaded, plan.batches - start), start)

    def forward(self, plan: EpochPlan, position: int, batch: Batch) -> StepResult:
        """Compute the loss of a batch; the last, smaller one runs uncompiled."""
        seed, compute = plan.seeds[position], self.state.compute
        if self.parts:
            rows = plan.order.rows[plan.slices[position]].to(self.split.labels.device)
            return self.parts(batch, self.split.labels[rows].to(compute.device), seed)
        seed_step(seed, compute.device)
        is_full = len(batch.labels) == self.settings.sampling.batch_size
        with compute.autocast():
            loss, logits = (self.step if is_full else self.single_step)(batch.images, batch.labels)
        logits, plain = logits.detach(), loss.detach() if self.reports_loss else None
        losses = sample_losses(logits, batch.labels) if self.state.selection else None
        return StepResult(loss, *batch_metrics(logits, batch.labels, plain), losses)

    @contextmanager
    def diagnosed(self, plan: EpochPlan, position: int) -> Iterator[None]:
        """Turn a NotFiniteError into one that names its cause, found by running the batches again."""
        try:
            yield
        except NotFiniteError as error:
            again = self.image_batches(plan, 0 if error.since_start else position)
            steps = ((at, plan.seeds[at], batch) for at, batch in again)
            raise explain(error, self.state, self.loss, steps, self.split, self.monitor.exempt) from error


@contextmanager
def stem_trained(network: nn.Module, trains: bool) -> Iterator[None]:
    """Freeze the first layer where `trains` is false (after FreezeOut, Brock et al., arXiv:1706.04983)."""
    parameters = [] if trains else stem_parameters(network)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def stem_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the first defined layer that learns; none when it is the only one."""
    of_modules = (
        [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
        for module in network.modules()
    )
    layers = [parameters for parameters in of_modules if parameters]
    return layers[0] if len(layers) > 1 else []


def check_batch_norm(network: nn.Module, batch_size: int) -> None:
    """Refuse batches of one sample for a network with batch norm, whose statistics need several."""
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    if batch_size == 1 and any(isinstance(module, norms) for module in network.modules()):
        raise ConfigurationError("batch_size=1: the network has batch norm, which needs at least 2 images a step")
