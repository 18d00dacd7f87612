"""Muon against torch's own, which takes matrices alone, and against the definition of what it approximates."""

import pytest
import torch
from torch import nn

from lenext.foundation.device import Compute
from lenext.models import create
from lenext.training.muon import Muon, orthogonal
from lenext.training.optimizers import build_optimizers
from lenext.training.recipe import Recipe
from lenext.training.settings import OptimizerSettings
from lenext.training.update import Update

PLAIN = Compute.choose("cpu", "fp32")


@pytest.mark.parametrize("shape", [(8, 8), (4, 30), (30, 4)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_on_matrices_it_is_torchs(shape: tuple[int, int], nesterov: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    mine = Muon([ours], 0.02, 0.1, 0.9, nesterov)
    reference = torch.optim.Muon([theirs], 0.02, 0.1, 0.9, nesterov, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
        assert torch.allclose(ours, theirs, atol=2e-3)
        assert not torch.equal(ours, torch.ones(shape))


def test_a_convolution_moves_as_the_matrix_that_it_is() -> None:
    torch.manual_seed(0)
    grad = torch.randn(6, 3, 5, 5)
    convolution = nn.Parameter(torch.zeros(6, 3, 5, 5).to(memory_format=torch.channels_last))
    matrix = nn.Parameter(torch.zeros(6, 75))
    convolution.grad, matrix.grad = grad.to(memory_format=torch.channels_last), grad.flatten(1)
    Muon([convolution], 1.0).step()
    Muon([matrix], 1.0).step()
    assert torch.allclose(convolution.flatten(1), matrix, atol=1e-6)


def test_singular_values_come_near_one() -> None:
    found = orthogonal(torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0)), dtype=torch.float32)
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_the_last_layer_norms_and_biases_go_with_adamw() -> None:
    network = create("resnet18_32px", num_classes=3)
    muon, adamw = build_optimizers(network, OptimizerSettings.from_recipe(Recipe(optimizer="muon")), PLAIN)
    matrices = {id(one) for group in muon.param_groups for one in group["params"]}
    rest = {id(one) for group in adamw.param_groups for one in group["params"]}
    for name, parameter in network.named_parameters():
        assert id(parameter) in (matrices if parameter.ndim > 1 and name != "fc.weight" else rest)
    assert not matrices & rest


def test_a_masked_update_leaves_the_weights_alone() -> None:
    network = create("lenet")
    before = [parameter.clone() for parameter in network.parameters()]
    update = Update(network, OptimizerSettings.from_recipe(Recipe(optimizer="muon")), PLAIN)
    update.masks = True
    update(network(torch.full((2, 1, 28, 28), torch.inf)).sum(), 0.1)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))


def test_a_masked_update_leaves_drifted_weights_alone_too() -> None:
    weight = nn.Parameter(torch.ones(6, 10))
    optimizer = Muon([weight], 0.02, keep_weight_norms=True)
    weight.grad = torch.randn(6, 10)
    optimizer.step()
    before = weight.clone()
    setattr(optimizer, "found_inf", torch.ones(()))  # noqa: B010
    optimizer.step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_that_lets_through_changes_nothing(dtype: torch.dtype) -> None:
    """An accelerator's step is that of a CPU, to the bit."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.ones(6, 10)) for _ in range(2)]
    grad = torch.randn(6, 10)
    for weight, masked in zip(weights, (False, True), strict=True):
        optimizer = Muon([weight], 0.02, dtype=dtype)
        weight.grad = grad.clone()
        if masked:
            setattr(optimizer, "found_inf", torch.zeros(()))  # noqa: B010
        optimizer.step()
    assert torch.equal(*weights)


def test_kept_norms_make_the_rate_relative() -> None:
    """However far weights have drifted, the next step begins at the length that they had first."""
    torch.manual_seed(0)
    weight, drifted = (nn.Parameter(torch.ones(6, 10)) for _ in range(2))
    kept, also = Muon([weight], 0.02, 0.0, keep_weight_norms=True), Muon([drifted], 0.02, 0.0, keep_weight_norms=True)
    for number in range(4):
        weight.grad = torch.randn(6, 10)
        drifted.grad = weight.grad.clone()
        kept.step()
        also.step()
        assert torch.allclose(weight, drifted, atol=1e-6)
        with torch.no_grad():
            drifted *= 3 if number == 1 else 1
    assert float(weight.detach().norm()) == pytest.approx(60**0.5, rel=0.05)


def test_a_matrix_that_begins_at_zero_stays_finite() -> None:
    weight = nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([weight], 0.1, keep_weight_norms=True)
    for _ in range(3):
        weight.grad = torch.randn(4, 4)
        optimizer.step()
    assert bool(weight.isfinite().all())
    assert bool(weight.any())
