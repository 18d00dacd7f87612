"""Networks that torchvision has too: the same names, the same order, the same answers."""

import pytest
import torch

from lenext.models import create
from tests.models.oracle import torchvision_models


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_parity(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = create(name), getattr(torchvision_models(), name)()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ours.eval()
    theirs.eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)


def test_gradients() -> None:
    torch.manual_seed(0)
    ours, theirs = create("resnet18"), torchvision_models().resnet18()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for network in (ours, theirs):
        network(images).square().mean().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert one.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-4, rtol=1e-3)
