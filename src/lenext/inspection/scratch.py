"""The layers written out by their formulas, to be read and compared with torch's own. Slow on purpose."""

import torch
from torch import Tensor

from lenext.foundation.arithmetic import output_size


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """A convolution: at each place the same dense layer on the pixels under the kernel.

    x (N, C, H, W), weight (O, C, k, k), bias (O,) to (N, O, H', W'). With k = 1 it is a dense layer at each pixel.
    """
    framed = frame(x, padding, 0.0)
    size = weight.shape[2]
    rows = output_size(x.shape[2], size, stride, padding, dilation)
    columns = output_size(x.shape[3], size, stride, padding, dilation)
    out = torch.zeros(x.shape[0], weight.shape[0], rows, columns)
    for row in range(rows):
        for column in range(columns):
            seen = window(framed, row * stride, column * stride, size, dilation)
            out[:, :, row, column] = dense(seen.flatten(1), weight.flatten(1), bias)
    return out


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, D), weight (O, D), bias (O,) to (N, O): each output is a weighted sum of all inputs."""
    out = (x[:, None, :] * weight[None]).sum(2)
    return out if bias is None else out + bias


def convolution_as_dense(weight: Tensor, height: int, width: int, stride: int = 1, padding: int = 0) -> Tensor:
    """The matrix (O H' W', C H W) of the dense layer that a convolution is: zeros, and the same few weights."""
    outputs, channels, size, _ = weight.shape
    rows, columns = output_size(height, size, stride, padding), output_size(width, size, stride, padding)
    matrix = torch.zeros(outputs, rows, columns, channels, height, width)
    for row in range(rows):
        for column in range(columns):
            for down in range(size):
                for across in range(size):
                    y, x = row * stride + down - padding, column * stride + across - padding
                    if 0 <= y < height and 0 <= x < width:
                        matrix[:, row, column, :, y, x] = weight[:, :, down, across]
    return matrix.view(outputs * rows * columns, channels * height * width)


def pool(x: Tensor, size: int, stride: int, padding: int = 0, how: str = "max") -> Tensor:
    """The largest value (`max`) or the mean (`average`) under a window. (N, C, H, W) to (N, C, H', W')."""
    framed = frame(x, padding, float("-inf") if how == "max" else 0.0)
    rows, columns = output_size(x.shape[2], size, stride, padding), output_size(x.shape[3], size, stride, padding)
    out = torch.zeros(*x.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            seen = window(framed, row * stride, column * stride, size).flatten(2)
            out[:, :, row, column] = seen.amax(2) if how == "max" else seen.mean(2)
    return out


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """By channel to mean 0 and variance 1 over N, H and W (biased variance), then scaled and shifted. (N, C, H, W)."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1)


def running(old: Tensor, new: Tensor, momentum: float = 0.1) -> Tensor:
    """The statistics that batch norm uses in evaluation: a running mean of the batches' own."""
    return (1 - momentum) * old + momentum * new


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """By image to mean 0 and variance 1 over C, H and W, then scaled and shifted. All (N, C, H, W) or (C, H, W)."""
    mean = x.mean((1, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((1, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * gamma + beta


def dropout(x: Tensor, probability: float, kept: Tensor) -> Tensor:
    """In training only: values whose `kept` is False become 0, the rest grow so that the mean stays."""
    return torch.where(kept, x / (1 - probability), torch.zeros_like(x))


def frame(x: Tensor, padding: int, value: float) -> Tensor:
    """Padding of one value around each image."""
    framed = torch.full((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), value)
    framed[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
    return framed


def window(x: Tensor, top: int, left: int, size: int, dilation: int = 1) -> Tensor:
    """The pixels under a kernel whose corner is there. (N, C, size, size)."""
    span = dilation * (size - 1) + 1
    return x[:, :, top : top + span : dilation, left : left + span : dilation]
