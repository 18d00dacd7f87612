"""Layers written as their formulas, to be read and compared with torch's own. They are slow on purpose."""

import torch
from torch import Tensor

from lenext.foundation.arithmetic import output_size


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """Apply a convolution: at each position the same dense layer on the pixels under the kernel.

    With k = 1 it is a dense layer at each pixel.

    Args:
        x: (N, C, H, W).
        weight: (O, C, k, k).
        bias: (O,).
        stride: Pixels from one position of the kernel to the next.
        padding: Zeros added on each side.
        dilation: Pixels from one value under the kernel to the next.

    Returns:
        (N, O, H', W').
    """
    padded = pad(x, padding, 0.0)
    size = weight.shape[2]
    rows = output_size(x.shape[2], size, stride, padding, dilation)
    columns = output_size(x.shape[3], size, stride, padding, dilation)
    out = torch.zeros(x.shape[0], weight.shape[0], rows, columns)
    for row in range(rows):
        for column in range(columns):
            pixels = window(padded, row * stride, column * stride, size, dilation)
            out[:, :, row, column] = dense(pixels.flatten(1), weight.flatten(1), bias)
    return out


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a dense layer: each output is a weighted sum of all inputs. (N, D), (O, D), (O,) to (N, O)."""
    out = (x[:, None, :] * weight[None]).sum(2)
    return out if bias is None else out + bias


def convolution_as_dense(weight: Tensor, height: int, width: int, stride: int = 1, padding: int = 0) -> Tensor:
    """Return a convolution as the matrix (O H' W', C H W) of a dense layer: zeros, and the same few weights."""
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


def pool(x: Tensor, size: int, stride: int, padding: int = 0, mode: str = "max") -> Tensor:
    """Return the largest value (`max`) or the mean (`average`) under a window. (N, C, H, W) to (N, C, H', W')."""
    padded = pad(x, padding, float("-inf") if mode == "max" else 0.0)
    rows, columns = output_size(x.shape[2], size, stride, padding), output_size(x.shape[3], size, stride, padding)
    out = torch.zeros(*x.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            pixels = window(padded, row * stride, column * stride, size).flatten(2)
            out[:, :, row, column] = pixels.amax(2) if mode == "max" else pixels.mean(2)
    return out


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Normalize each channel of (N, C, H, W) to mean 0 and biased variance 1 over N, H and W; then scale and shift."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1)


def update_running_mean(old: Tensor, new: Tensor, momentum: float = 0.1) -> Tensor:
    """Update the statistics that batch norm uses in evaluation: a running mean of those of the batches."""
    return (1 - momentum) * old + momentum * new


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Normalize each image of (N, C, H, W) to mean 0 and variance 1; then scale and shift by (C, H, W)."""
    mean = x.mean((1, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((1, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * gamma + beta


def dropout(x: Tensor, probability: float, mask: Tensor) -> Tensor:
    """Apply dropout, in training only: values outside the mask become 0, the others grow so that the mean stays."""
    return torch.where(mask, x / (1 - probability), torch.zeros_like(x))


def pad(x: Tensor, padding: int, value: float) -> Tensor:
    """Pad each image with one value."""
    padded = torch.full((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), value)
    padded[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
    return padded


def window(x: Tensor, top: int, left: int, size: int, dilation: int = 1) -> Tensor:
    """Return the pixels (N, C, size, size) under a kernel, by the corner of the kernel."""
    span = dilation * (size - 1) + 1
    return x[:, :, top : top + span : dilation, left : left + span : dilation]
