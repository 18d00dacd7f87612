"""Features of images, computed once and stored: what the head of a frozen backbone trains on."""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from lenext.data.batches import Batch, EpochOrder, batch_slices, some_batches, training_batches
from lenext.data.dataset import Split
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import cache_folder, free_space, make_folder
from lenext.foundation.memory import available_bytes
from lenext.training.epoch_plan import EpochPlan, order_of_epoch
from lenext.training.frozen import FrozenBackbone
from lenext.training.settings import Settings
from lenext.training.state import Step

MAX_MEMORY_FRACTION = 0.5  # of the free memory, for the features of all views; larger ones are mapped from a file
SPARE_BYTES = 1 << 30  # of the disk, for checkpoints


@dataclass(eq=False)
class FeatureStore:
    """The features of the training images, by view, and of the images that are evaluated.

    An epoch takes the augmented images of an earlier one: of epoch 1 + (epoch - 1) modulo the number of views.

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

    @property
    def compute(self) -> Compute:
        """The device of the training, and its arithmetic."""
        return self.settings.machine.compute

    def view(self, epoch: int) -> int:
        """Return the view that an epoch takes."""
        return 1 + (epoch - 1) % self.settings.sampling.feature_views

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
                computed = self.backbone.features(batch.images).cpu()
            if features is None:
                features = allocate(
                    (len(self.split), *computed.shape[1:]), computed.dtype, settings.sampling.feature_views
                )
            features[batch.rows.cpu()] = computed
            nothing = torch.zeros(())
            yield Step("features", epoch, position, count, len(batch.labels), nothing, nothing, 0.0)
        assert features is not None
        self.by_view[view] = features

    def order(self, view: int) -> EpochOrder:
        """Return all samples with the random numbers of the view's own epoch."""
        sampling = replace(self.settings.sampling, balanced=False)  # balanced epochs leave samples out
        return order_of_epoch(replace(self.settings, sampling=sampling), view, self.split)

    def order_of_images(self, plan: EpochPlan) -> EpochOrder:
        """Return the order of an epoch with the random numbers by which its features were computed."""
        view = self.order(self.view(plan.epoch))
        numbers = torch.empty_like(view.numbers)
        numbers[view.rows] = view.numbers
        return EpochOrder(plan.order.rows, numbers[plan.order.rows.cpu()])

    def batches(self, plan: EpochPlan, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from position `start` on, with features in place of images."""
        view, rows = self.view(plan.epoch), plan.order.rows.cpu()
        for part in batch_slices(len(rows), self.settings.sampling.batch_size)[start : plan.batches]:
            chosen = rows[part]
            labels = self.split.labels[chosen.to(self.split.labels.device)].to(self.compute.device)
            yield Batch(self.by_view[view].index_select(0, chosen).to(self.compute.device), labels, chosen)

    def evaluation_logits(
        self, phase: str, split: Split, images: Preprocessing, parts: Sequence[slice]
    ) -> Iterator[Tensor]:
        """Yield the logits of the batches of a split, from their features; the first time these are computed."""
        stored = self.evaluated.get(phase)
        loaded = some_batches(split, parts, images, self.compute) if stored is None else None
        for part in parts:
            if loaded is not None:
                with self.compute.autocast():
                    computed = self.backbone.features(next(loaded).images)
                stored = allocate((len(split), *computed.shape[1:]), computed.dtype) if stored is None else stored
                stored[part] = computed.cpu()
            assert stored is not None
            with torch.no_grad(), self.compute.autocast():
                logits = self.backbone.tail(stored[part].to(self.compute.device)).float()
            yield logits
        if stored is not None:
            self.evaluated[phase] = stored


def allocate(shape: tuple[int, ...], dtype: torch.dtype, count: int = 1) -> Tensor:
    """Return room for features: in memory, or in a file that is mapped into it.

    Args:
        shape: Of the features of all images.
        dtype: Of a value.
        count: How many of them there will be.

    Raises:
        ConfigurationError: The disk has no room for them.
    """
    size = math.prod(shape) * dtype.itemsize
    if size * count <= MAX_MEMORY_FRACTION * available_bytes(torch.device("cpu")):
        return torch.empty(shape, dtype=dtype, device="cpu")
    folder = make_folder(cache_folder() / "features")
    free = free_space(folder)
    if free is not None and free < size + SPARE_BYTES:
        raise no_room(folder, size, f"{free / 1e9:,.1f} GB are free there")
    descriptor, name = tempfile.mkstemp(dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):  # the room is taken now, not when a page is first written
            os.posix_fallocate(descriptor, 0, size)
        return torch.from_file(name, shared=True, size=math.prod(shape), dtype=dtype).view(shape)
    except OSError as error:
        raise no_room(folder, size, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)
        with suppress(OSError):  # Windows keeps a file that is mapped
            Path(name).unlink()


def no_room(folder: Path, size: int, reason: str) -> ConfigurationError:
    """Return the error that a disk cannot hold features of `size` bytes."""
    return ConfigurationError(
        f"feature_views: a view of the features needs {size / 1e9:,.1f} GB in {folder}, and {reason}; make room, or "
        "train with feature_views=0"
    )
