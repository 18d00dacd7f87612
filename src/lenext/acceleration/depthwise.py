"""Depthwise convolutions trained in bf16 on a CPU, where oneDNN's backward pass is several times slower than need be.

On small maps the convolution is one batched matrix product: each channel's kernel becomes a matrix between all its
input and output positions. On larger maps it runs in fp32, which oneDNN computes faster than bf16.
"""

from functools import cache

import torch
from torch import Tensor, nn

from lenext.acceleration.modules import is_traced

MIN_KERNEL_SIZE = 5  # below it oneDNN is faster
MAX_POSITIONS = 64  # of a map; above it the matrices cost more than they save


class Conv2d(nn.Conv2d):
    """torch's convolution (N, C, H, W), with the faster path of depthwise convolutions of stride 1 that keep the size.

    The path is taken under bf16 autocast on a CPU where gradients are needed; all else is torch's own. Its results
    differ from torch's by the rounding of bf16.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C m, H, W), for a channel multiplier m."""
        if not self.trains_in_bf16(x):
            return super().forward(x)
        if x.shape[-2] * x.shape[-1] <= MAX_POSITIONS:
            return self.multiply(x.bfloat16())
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())

    def trains_in_bf16(self, x: Tensor) -> bool:
        """Return whether autocast would convolve x in bf16 on a CPU, for a backward pass."""
        return (
            torch.is_grad_enabled()
            and (x.requires_grad or self.weight.requires_grad)
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == torch.bfloat16
            and x.device.type == "cpu"
            and x.ndim == 4
            and not is_traced()
        )

    def multiply(self, x: Tensor) -> Tensor:
        """Return the convolution of x (N, C, H, W) as one product of matrices for each channel."""
        samples, channels, height, width = x.shape
        positions, multiplier = height * width, self.out_channels // channels
        taps = tap_positions(height, width, self.kernel_size[0])
        kernels = (self.weight.flatten(1).bfloat16() @ taps).view(channels, multiplier * positions, positions)
        inputs = x.transpose(0, 1).reshape(channels, samples, positions)
        if self.bias is None:
            outputs = torch.bmm(inputs, kernels.transpose(1, 2))
        else:
            biases = self.bias.bfloat16().view(channels, 1, multiplier, 1).expand(-1, -1, -1, positions)
            outputs = torch.baddbmm(biases.reshape(channels, 1, -1), inputs, kernels.transpose(1, 2))
        outputs = outputs.view(channels, samples, multiplier, positions).transpose(0, 1)
        return outputs.reshape(samples, channels * multiplier, height, width)


@cache
def tap_positions(height: int, width: int, kernel_size: int) -> Tensor:
    """Return, for each tap of a kernel that keeps the size, which output takes which input by it.

    Returns:
        Zeros and ones (k k, H W H W), by tap, output position and input position.
    """

    def along(length: int) -> Tensor:
        position = torch.arange(length, device="cpu")
        tap = torch.arange(kernel_size, device="cpu")[:, None, None]
        return (position[None, None, :] - position[None, :, None] + kernel_size // 2 == tap).float()

    with torch.autocast("cpu", enabled=False):
        both = torch.einsum("yoi,xpj->yxopij", along(height), along(width))
    return both.reshape(kernel_size**2, -1).bfloat16()


def accelerate_depthwise(network: nn.Module) -> None:
    """Give the depthwise convolutions of a network the faster path, in place; the modules stay the same objects."""
    for module in network.modules():
        if type(module) is nn.Conv2d and is_depthwise(module):  # a subclass has its own forward pass
            module.__class__ = Conv2d


def is_depthwise(layer: nn.Conv2d) -> bool:
    """Return whether a convolution is depthwise, of stride 1, keeps the size, and has a kernel that gains by it."""
    size = layer.kernel_size[0]
    return (
        layer.groups == layer.in_channels > 1
        and size >= MIN_KERNEL_SIZE
        and size % 2 == 1
        and layer.kernel_size == (size, size)
        and (layer.stride, layer.dilation) == ((1, 1), (1, 1))
        and layer.padding in ((size // 2, size // 2), "same")
        and layer.padding_mode == "zeros"
    )
