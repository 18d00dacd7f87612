"""The vector of a part of a batch: all that its process sends to the others, in one exchange."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Layout:
    """The layout of the vector of a part: gradients, buffers, then a few numbers.

    Attributes:
        learning: The parameters that learn in this step.
        shares: Of the parts, in the gradient (parts,).
        length: Of the vector.
    """

    def __init__(self, network: nn.Module, samples: int, shares: Tensor) -> None:
        self.learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.shares, self.samples = shares, samples
        self.before = [buffer.clone() for buffer in network.buffers()]
        self.sizes = [tensor.numel() for tensor in (*self.learning, *self.before)]
        self.gradient_size = sum(self.sizes[: len(self.learning)])
        self.stop = sum(self.sizes)
        self.loss, self.correct = self.stop + 1, self.stop + 2
        self.losses = slice(self.stop + 3, self.stop + 3 + samples)
        self.length = self.losses.stop

    def vector(
        self, length: int, number: int, samples: slice, replica: nn.Module, gradients: Sequence[Tensor]
    ) -> Tensor:
        """Return a part's vector with its share of the gradients and of the buffers.

        A buffer of integers, such as the number of batches, counts the batch once: by the first part.
        """
        vector = self.shares.new_zeros(length)
        views = self.views(vector)
        torch._foreach_copy_(views[: len(gradients)], list(gradients))
        vector[: self.gradient_size].mul_(self.shares[number])
        share = (samples.stop - samples.start) / self.samples
        for view, buffer, before in zip(views[len(gradients) :], replica.buffers(), self.before, strict=True):
            if buffer.is_floating_point():
                view.copy_(buffer).mul_(share)
            elif number == 0 and buffer.dtype != torch.bool:
                view.copy_(buffer - before)
        return vector

    def views(self, vector: Tensor) -> list[Tensor]:
        """Return the views of a vector as the gradients and the buffers, in the memory format of each."""
        tensors, views, offset = (*self.learning, *self.before), list[Tensor](), 0
        for tensor, size in zip(tensors, self.sizes, strict=True):
            views.append(vector.as_strided(tensor.size(), tensor.stride(), offset))
            offset += size
        return views

    def gradients(self, total: Tensor) -> list[Tensor]:
        """Return the gradients of all parts."""
        return self.views(total)[: len(self.learning)]

    @torch.no_grad()
    def write_buffers(self, network: nn.Module, total: Tensor) -> None:
        """Give a network the buffers of all parts."""
        sums = self.views(total)[len(self.learning) :]
        for buffer, value, before in zip(network.buffers(), sums, self.before, strict=True):
            if buffer.is_floating_point():
                buffer.copy_(value)
            elif buffer.dtype != torch.bool:
                buffer.copy_(before + value.to(buffer.dtype))

    @torch.no_grad()
    def restore(self, network: nn.Module) -> None:
        """Give a network the buffers from before the step."""
        for buffer, before in zip(network.buffers(), self.before, strict=True):
            buffer.copy_(before)


class PrecomputedGradient(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        """Keep the gradients."""
        ctx.gradients = gradients
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, scaled."""
        return None, None, *torch._foreach_mul(ctx.gradients, upstream)
