"""Compare the layers written as formulas with torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lenext.inspection import scratch

X = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
BIAS = torch.arange(4.0)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 2, 1)])
def test_convolution(stride: int, padding: int, dilation: int) -> None:
    ours = scratch.convolve(X, WEIGHT, BIAS, stride, padding, dilation)
    assert torch.allclose(ours, F.conv2d(X, WEIGHT, BIAS, stride, padding, dilation), atol=1e-4)


def test_a_convolution_is_a_restricted_dense_layer() -> None:
    matrix = scratch.convolution_as_dense(WEIGHT, 7, 8, stride=2, padding=1)
    ours = scratch.dense(X.flatten(1), matrix)
    assert torch.allclose(ours, F.conv2d(X, WEIGHT, None, 2, 1).flatten(1), atol=1e-4)
    assert len(matrix.unique()) <= WEIGHT.numel() + 1


def test_one_by_one_is_a_dense_layer_at_each_pixel() -> None:
    weight = WEIGHT[:, :, :1, :1]
    by_pixel = F.linear(X.permute(0, 2, 3, 1), weight[:, :, 0, 0], BIAS).permute(0, 3, 1, 2)
    assert torch.allclose(scratch.convolve(X, weight, BIAS), by_pixel, atol=1e-5)


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pooling(size: int, stride: int, padding: int) -> None:
    assert torch.equal(scratch.pool(X, size, stride, padding), F.max_pool2d(X, size, stride, padding))
    average = scratch.pool(X, size, stride, padding, "average")
    assert torch.allclose(average, F.avg_pool2d(X, size, stride, padding), atol=1e-6)


def test_batch_norm_in_training_and_its_running_mean() -> None:
    layer = nn.BatchNorm2d(3).train()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    assert torch.allclose(scratch.batch_norm(X, layer.weight, layer.bias), layer(X), atol=1e-5)
    assert torch.allclose(scratch.update_running_mean(torch.zeros(3), X.mean((0, 2, 3))), layer.running_mean, atol=1e-6)  # type: ignore[arg-type]


def test_layer_norm() -> None:
    gamma, beta = torch.randn(3, 7, 8), torch.randn(3, 7, 8)
    assert torch.allclose(scratch.layer_norm(X, gamma, beta), F.layer_norm(X, (3, 7, 8), gamma, beta), atol=1e-5)


def test_dropout_keeps_the_mean_and_is_torchs_for_the_same_draw() -> None:
    torch.manual_seed(0)
    theirs = F.dropout(X, 0.25)
    assert torch.allclose(scratch.dropout(X, 0.25, theirs != 0), theirs)
    ones = torch.ones(100_000)
    mask = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) > 0.25
    assert float(scratch.dropout(ones, 0.25, mask).mean()) == pytest.approx(1, abs=0.01)
