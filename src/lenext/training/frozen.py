"""A frozen backbone: its features of each image are computed once, and the layers after it train on them."""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import draws_at_random, is_stateless
from lenext.data.batches import Batch, EpochOrder, batch_slices, batches, draw_epoch_order, load_batch, training_batches
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import cache_folder, free_space, make_folder
from lenext.foundation.memory import available_bytes
from lenext.models.pretrained import find_head
from lenext.training.epoch_plan import EpochPlan, order_of_epoch
from lenext.training.losses import CrossEntropy, Loss, has_auxiliary
from lenext.training.settings import Settings
from lenext.training.state import Step

TRIED_IMAGES = 4
MAX_DIFFERENCE = 0.02  # of features, relative to the largest: what bf16 may round differently
MAX_MEMORY_FRACTION = 0.5  # of the free memory, for the features of a view; larger ones are mapped from a file


class InseparableError(ConfigurationError):
    """The features of the frozen layers cannot be stored; the message is the reason, after `as`."""


@dataclass(frozen=True, eq=False)
class FrozenBackbone:
    """A network in two parts.

    Attributes:
        network: The whole.
        tail: Its last layers: those that learn, and those before them that draw at random.
        entry: The first module of the tail, whose input are the features.
    """

    network: nn.Module
    tail: nn.Module
    entry: nn.Module

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return what the tail is given for images (N, C, H, W): (N, D), or maps (N, D, h, w)."""
        return self.run(images)[0]

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of images and the logits of the whole network."""
        found: list[Tensor] = []
        hook = self.entry.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        try:
            logits = self.network(images)
        finally:
            hook.remove()
        if len(found) != 1:
            raise InseparableError(f"the last layer is called {len(found)} times")
        return found[0], logits


def set_training_mode(network: nn.Module) -> None:
    """Set training mode, except for modules whose own parameters are frozen: a frozen norm keeps its statistics."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters(recurse=False))
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.training = False  # not eval(), which would reach modules inside it that learn


def separate(network: nn.Module, split: Split, settings: Settings, loss: Loss | None = None) -> FrozenBackbone:
    """Divide a network where its frozen layers end.

    Args:
        network: On its device.
        split: The training samples; the parts are tried with the first ones.
        settings: How it is trained.
        loss: What is minimized; None for that of the settings.

    Raises:
        InseparableError: The features of an image are not the same in every step, or are not all that the tail needs.
    """
    check_settings(network, settings, loss)
    head = find_head(network)
    if others := [name for name, one in network.named_parameters() if one.requires_grad and not is_in(name, head)]:
        raise InseparableError(f"{others[0].rpartition('.')[0] or others[0]} learns, too")
    compute = settings.machine.compute
    images = load_batch(split, settings.images, compute, slice(0, min(TRIED_IMAGES, len(split)))).images
    modes = [module.training for module in network.modules()]
    set_training_mode(network)
    try:
        backbone = divide(network, head)
        with torch.no_grad(), compute.autocast():
            try_parts(backbone, images)
    finally:
        for module, mode in zip(network.modules(), modes, strict=True):
            module.training = mode
    return backbone


def check_settings(network: nn.Module, settings: Settings, loss: Loss | None) -> None:
    """Refuse settings by which a step needs more than the features. Raises InseparableError."""
    if all(parameter.requires_grad for parameter in network.parameters()):
        raise InseparableError("no layer is frozen")
    if not settings.sampling.feature_views:
        raise InseparableError("feature_views is 0")
    mixes = settings.loss.mixup > 0 or settings.loss.cutmix > 0 if loss is None else type(loss) is not CrossEntropy
    machine = settings.machine
    reasons = {
        "mixup, cutmix or an own loss sees the images": mixes,
        "the auxiliary classifiers see earlier layers": has_auxiliary(network),
        "hardest_fraction chooses samples in every epoch": settings.sampling.hardest,
        "progressive_resizing changes the images": settings.schedule.first_image_size < 1,
        "freeze_stem_after changes what learns": settings.schedule.stem_epochs is not None,
        "ema_decay averages all layers": settings.optimizer.ema_decay > 0,
        "the step is compiled": machine.compile != "no",
        "replicas share the whole network": machine.replicas > 1,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InseparableError(reason)


def divide(network: nn.Module, head: str) -> FrozenBackbone:
    """Divide a network in training mode before its head, or before a dropout in front of it."""
    last = network.get_submodule(head)
    parent = network.get_submodule(head.rpartition(".")[0])
    tail = last
    if isinstance(parent, nn.Sequential):
        layers = list(parent)
        first = next(at for at, layer in enumerate(layers) if layer is last or is_random(layer))
        tail = nn.Sequential(*layers[first:])
    inside = set(tail.modules())
    for name, module in network.named_modules():
        if module in inside or module is network:
            continue
        if is_random(module):
            raise InseparableError(f"{name} draws at random in every step")
        if module.training and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            raise InseparableError(f"{name} normalizes by the batch")
        if not is_stateless(module):
            raise InseparableError(f"{name} ({type(module).__name__}) may keep or draw something")
    return FrozenBackbone(network, tail, next(iter(tail)) if isinstance(tail, nn.Sequential) else tail)


def is_random(module: nn.Module) -> bool:
    """Return whether a module, in its present mode, draws random numbers."""
    return module.training and draws_at_random(module)


def is_in(parameter: str, module: str) -> bool:
    """Return whether a parameter belongs to a module, both by name."""
    return parameter.startswith(f"{module}.")


def try_parts(backbone: FrozenBackbone, images: Tensor) -> None:
    """Check that the tail makes the logits out of the features, and that an image's features are its own."""
    torch.manual_seed(0)
    features, logits = backbone.run(images)
    torch.manual_seed(0)
    from_features = backbone.tail(features)
    if from_features.shape != logits.shape or not is_close(from_features, logits):
        raise InseparableError("more than the last layers makes the logits")
    alone, _ = backbone.run(images[:1])
    if not is_close(alone, features[:1]):
        raise InseparableError("the features of an image depend on its batch")


def is_close(some: Tensor, others: Tensor) -> bool:
    """Return whether two tensors are equal up to rounding."""
    scale = max(float(others.abs().max()), 1e-6)
    return float((some - others).abs().max()) <= MAX_DIFFERENCE * scale


@dataclass(eq=False)
class FeatureStore:
    """The features of the training images, by view, and of the images that are evaluated.

    An epoch takes the augmented images of an earlier one: of epoch 1 + (epoch - 1) modulo `views`.

    Attributes:
        backbone: What computes them.
        split: The training samples.
        settings: How training goes.
        by_view: The features (N, ...) of all samples, by view from 1.
        evaluated: The features of other splits, by phase.
    """

    backbone: FrozenBackbone
    split: Split
    settings: Settings
    by_view: dict[int, Tensor] = field(default_factory=dict)
    evaluated: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def where_possible(cls, network: nn.Module, split: Split, settings: Settings, loss: Loss) -> "FeatureStore | None":
        """Return a store; None where no layer is frozen, or every step needs the whole network."""
        try:
            return cls(separate(network, split, settings, loss), split, settings)
        except InseparableError:
            return None

    @property
    def compute(self) -> Compute:
        """Where training runs."""
        return self.settings.machine.compute

    @property
    def views(self) -> int:
        """The number of augmented views of each image; 1 without augmentation."""
        return self.settings.sampling.feature_views if self.settings.augmentation else 1

    def view(self, epoch: int) -> int:
        """Return the view that an epoch takes."""
        return 1 + (epoch - 1) % self.views

    def fill(self, epoch: int) -> Iterator[Step]:
        """Compute the view of an epoch unless it is there, and yield a Step after each batch."""
        view = self.view(epoch)
        if view in self.by_view:
            return
        order, settings = self.order(view), self.settings
        batch_size = settings.sampling.batch_size
        count, features = len(batch_slices(len(self.split), batch_size)), None
        loaded = training_batches(self.split, order, settings.images, settings.augmentation, self.compute, batch_size)
        for position, batch in enumerate(loaded):
            with self.compute.autocast():
                found = self.backbone.features(batch.images).cpu()
            if features is None:
                features = allocate((len(self.split), *found.shape[1:]), found.dtype)
            features[batch.rows.cpu()] = found
            nothing = torch.zeros(())
            yield Step("features", epoch, position, count, len(batch.labels), nothing, nothing, 0.0)
        assert features is not None
        self.by_view[view] = features

    def order(self, view: int) -> EpochOrder:
        """Return all samples with the random numbers of the view's own epoch."""
        sampling = self.settings.sampling
        if sampling.balanced:  # its epochs leave samples out
            return draw_epoch_order(len(self.split), sampling.seed, view, shuffle=False)
        return order_of_epoch(self.settings, view, self.split)

    def batches(self, plan: EpochPlan, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from position `start` on, with features in place of images."""
        features, rows = self.by_view[self.view(plan.epoch)], plan.order.rows.cpu()
        for part in batch_slices(len(rows), self.settings.sampling.batch_size)[start : plan.batches]:
            chosen = rows[part]
            labels = self.split.labels[chosen.to(self.split.labels.device)].to(self.compute.device)
            yield Batch(features.index_select(0, chosen).to(self.compute.device), labels, chosen)

    def evaluation_batches(self, phase: str, split: Split, images: Preprocessing, batch_size: int) -> Iterator[Batch]:
        """Yield the batches of a split, with features in place of images; the first time they are computed."""
        stored = self.evaluated.get(phase)
        if stored is not None:
            for part in batch_slices(len(split), batch_size):
                labels = split.labels[part].to(self.compute.device)
                yield Batch(stored[part].to(self.compute.device), labels, torch.arange(part.start, part.stop))
            return
        for batch in batches(split, images, self.compute, batch_size):
            with self.compute.autocast():
                found = self.backbone.features(batch.images)
            if stored is None:
                stored = allocate((len(split), *found.shape[1:]), found.dtype)
            stored[batch.rows.cpu()] = found.cpu()
            yield Batch(found, batch.labels, batch.rows)
        if stored is not None:
            self.evaluated[phase] = stored


def allocate(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return room for features: in memory, or in a file that is mapped into it.

    Raises:
        ConfigurationError: The disk has no room for them.
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= MAX_MEMORY_FRACTION * available_bytes(torch.device("cpu")):
        return torch.empty(shape, dtype=dtype)
    folder = make_folder(cache_folder() / "features")
    free = free_space(folder)
    if free is not None and free < size:
        raise ConfigurationError(
            f"feature_views: a view of the features needs {size / 1e9:,.1f} GB, and {folder} has {free / 1e9:,.1f} GB "
            "free; make room, or give feature_views=0"
        )
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    mapped = torch.from_file(name, shared=True, size=math.prod(shape), dtype=dtype).view(shape)
    with suppress(OSError):  # Windows keeps a file that is mapped
        Path(name).unlink()
    return mapped
