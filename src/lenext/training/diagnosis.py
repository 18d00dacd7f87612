"""Diagnosis of numbers that are not finite: when they are noticed, and where they come from."""

import time
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from lenext.data.batches import Batch
from lenext.data.dataset import Split, shorten_list
from lenext.foundation.errors import TrainingError
from lenext.training.losses import Loss
from lenext.training.state import TrainingState
from lenext.training.update import NotFiniteError

CHECK_SECONDS = 0.2  # between checks of what a device has counted; each waits for the device
CHECK_STEPS = 16  # the same, where several processes train together
MAX_SAMPLES_NAMED = 4


class FiniteMonitor:
    """Checks, now and then, that a training's numbers are finite."""

    def __init__(self, state: TrainingState, *, by_clock: bool = True) -> None:
        """Begin.

        Args:
            state: The training.
            by_clock: Whether buffers are checked a few times per second; of several processes all have to check at
                the same steps, so there it is every few steps.
        """
        self.state, self.by_clock, self.steps = state, by_clock, 0
        self.exempt = set(not_finite(state.network))  # a mask of the user's own network, perhaps
        self.checked = time.perf_counter()

    def after_step(self, *, is_last: bool) -> None:
        """Check buffers now and then, and everything at the end of an epoch.

        Raises:
            NotFiniteError: Updates were skipped, or a number of the network is not finite.
            TrainingError: A number that an optimizer keeps is not finite.
        """
        self.steps += 1
        is_early = time.perf_counter() - self.checked < CHECK_SECONDS if self.by_clock else self.steps % CHECK_STEPS
        if not is_last and is_early:
            return
        self.checked = time.perf_counter()
        self.state.progress.skipped_updates += self.state.update.check()
        network = self.state.network
        tensors = [("buffer", name, tensor) for name, tensor in network.named_buffers()]
        if is_last:
            tensors += [("parameter", name, tensor) for name, tensor in network.named_parameters()]
        for kind, name, tensor in tensors:
            if name not in self.exempt and not is_finite(tensor):
                raise NotFiniteError(f"the {kind} {name} is no longer finite")
        if is_last and (lost := self.state.update.first_not_finite()):
            epoch = self.state.epoch + 1
            raise TrainingError(f"the optimizer's {lost} is no longer finite after epoch {epoch}; {advice(self.state)}")


def explain(
    error: NotFiniteError,
    state: TrainingState,
    loss: Loss,
    batches: Iterable[tuple[int, int, Batch]],
    split: Split,
    exempt: Collection[str],
) -> TrainingError:
    """Return the error with the first number that went bad, by computing batches again.

    Args:
        error: What was noticed.
        state: The training.
        loss: What is minimized.
        batches: Position, seed and batch of the steps to compute again.
        split: The training samples, whose ids the message names.
        exempt: Parameters and buffers that never were finite.
    """
    first_position: int | None = None
    for position, seed, batch in batches:
        first_position = position if first_position is None else first_position
        torch.manual_seed(seed)
        with state.compute.autocast():
            cause = first_bad(state.network, loss, batch.images, batch.labels, exempt)
        if cause:
            ids = shorten_list([str(sample) for sample in split.ids[batch.rows.cpu().numpy()]], MAX_SAMPLES_NAMED)
            where = f"step {position + 1} (samples {ids}); first bad: {cause}"
            break
    else:
        where = f"step {(first_position or 0) + 1}; first bad: not found again"
    return TrainingError(f"{error} in epoch {state.epoch + 1}, {where}. {advice(state)}")


def advice(state: TrainingState) -> str:
    """Return what usually helps against numbers that are not finite."""
    rate = state.update.optimizers[0].param_groups[0]["lr"]
    return f"A learning_rate below {rate:.2g} or gradient_clip=1 usually helps"


def first_bad(network: nn.Module, loss: Loss, images: Tensor, labels: Tensor, exempt: Collection[str] = ()) -> str:
    """Return the first thing that is not finite, in words; empty when everything is.

    Images, parameters, buffers, outputs of layers, logits, loss and gradients are looked at, in this order. The
    gradients are lost, and norms take the batch into their statistics.

    Args:
        network: What is trained.
        loss: What is minimized.
        images: (N, C, H, W).
        labels: (N,).
        exempt: Parameters and buffers that never were finite.
    """
    for position, image in enumerate(images):
        if not is_finite(image):
            return f"image {position + 1} of the batch, before it enters the network"
    for kind, tensors in (("parameter", network.named_parameters()), ("buffer", network.named_buffers())):
        for name, tensor in tensors:
            if name not in exempt and not is_finite(tensor):
                return f"the {kind} {name}"
    network.zero_grad(set_to_none=True)
    bad_outputs: list[str] = []
    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    hooks = [watch_output(name, module, bad_outputs) for name, module in leaves]
    try:
        value, logits = loss(network, images, labels)
    finally:
        for hook in hooks:
            hook.remove()
    if bad_outputs:
        return bad_outputs[0]
    if not is_finite(logits):
        return "the logits"
    if not is_finite(value):
        return "the loss, out of finite logits"
    value.backward()
    gradients = ((name, parameter.grad) for name, parameter in network.named_parameters())
    bad_gradients = [name for name, gradient in gradients if gradient is not None and not is_finite(gradient)]
    network.zero_grad(set_to_none=True)
    return f"the gradient of {bad_gradients[-1]}" if bad_gradients else ""  # the backward pass begins at the last layer


def watch_output(name: str, module: nn.Module, bad_outputs: list[str]) -> torch.utils.hooks.RemovableHandle:
    """Add a layer's name to a list when its output is not finite."""

    def check_output(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and not is_finite(output):
            bad_outputs.append(f"the output of {name or 'the network'} ({type(layer).__name__})")

    return module.register_forward_hook(check_output)


def is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers of a tensor are finite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def not_finite(network: nn.Module) -> list[str]:
    """Return the names of a network's parameters and buffers that are not finite."""
    tensors = (*network.named_parameters(), *network.named_buffers())
    return [name for name, tensor in tensors if not is_finite(tensor)]
