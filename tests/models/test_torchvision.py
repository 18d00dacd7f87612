"""Networks that torchvision has too: the same names, the same order, the same answers, the same gradients."""

from typing import Any

import pytest
import torch
from torch import nn

from lenext.models import MODELS, create, find_variant
from tests.models.oracle import torchvision_models

SHARED = [name for name in MODELS if find_variant(name).kind == "as published"]
SMALLEST = ["alexnet", "vgg11", "vgg11_bn", "googlenet", "resnet18", "densenet121", "convnext_tiny"]


def both(name: str) -> tuple[nn.Module, Any]:
    """Return lenext's network and torchvision's with the same random weights; each loads the other's strictly."""
    torch.manual_seed(0)
    builder, googlenet = getattr(torchvision_models(), name), name == "googlenet"
    ours = create(name, auxiliary=True) if googlenet else create(name)
    with torch.device("meta"):  # no time for random weights that are replaced
        theirs = builder(aux_logits=True, init_weights=False) if googlenet else builder()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    weights = {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    theirs.load_state_dict(weights, strict=True, assign=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize(
    "name", [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in SHARED]
)
def test_the_same_logits(name: str) -> None:
    ours, theirs = both(name)
    ours.eval()
    theirs.eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize("name", SMALLEST)
def test_the_same_gradients(name: str) -> None:
    ours, theirs = both(name)
    ours.eval()  # dropout and stochastic depth draw in another order
    theirs.eval()
    images = torch.randn(2, 3, 64, 64)
    for network in (ours, theirs):
        network(images).square().mean().backward()
    for parameter, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        if parameter.grad is None or reference.grad is None:  # the auxiliary heads, which evaluation leaves out
            assert parameter.grad is reference.grad
            continue
        assert torch.allclose(parameter.grad, reference.grad, atol=1e-5, rtol=1e-3)


def test_all_classic_networks_of_torchvision_are_here() -> None:
    expected = "alexnet googlenet resnet18 resnet34 resnet50 resnet101 resnet152 densenet121 densenet161 densenet169"
    expected += " densenet201 convnext_tiny convnext_small convnext_base convnext_large"
    expected += " " + " ".join(f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn"))
    assert set(expected.split()) <= set(SHARED)


def test_auxiliary_heads_answer_in_training_and_leave_forward_one_tensor() -> None:
    torch.manual_seed(0)
    network = create("googlenet", auxiliary=True, num_classes=5)
    images = torch.randn(2, 3, 96, 96)
    assert [one.shape for one in network.forward_with_auxiliary(images)] == [(2, 5)] * 3  # type: ignore[operator]
    assert network(images).shape == (2, 5)
    assert len(network.eval().forward_with_auxiliary(images)) == 1  # type: ignore[operator]


def test_auxiliary_losses_are_added() -> None:
    from lenext.training.losses import CrossEntropy

    torch.manual_seed(0)
    network = create("googlenet", auxiliary=True, num_classes=5, norm="none", dropout=0.0)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 1])
    value, _ = CrossEntropy()(network, images, labels)
    parts = [nn.functional.cross_entropy(one, labels) for one in network.forward_with_auxiliary(images)]  # type: ignore[operator]
    assert torch.allclose(value, parts[0] + 0.3 * (parts[1] + parts[2]))
    plain = create("googlenet", num_classes=5).eval()
    assert torch.equal(CrossEntropy()(plain, images, labels)[0], nn.functional.cross_entropy(plain(images), labels))
