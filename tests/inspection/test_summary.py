"""Compare the layer table with torch's own counts, and check the doctor's reasons."""

import pytest
import torch
from torch import nn

from lenext.foundation.errors import ConfigurationError
from lenext.inspection.doctor import UnfitError, check_network, smallest_size
from lenext.inspection.summary import summarize
from lenext.models import create


@pytest.mark.parametrize("name", ["lenet", "lenet5_skip", "resnet18_32px"])
def test_parameters_of_the_layers_add_up(name: str) -> None:
    network = create(name, in_channels=3, num_classes=7)
    summary = summarize(network, (3, 32, 32) if name != "lenet" else (3, 28, 28), name)
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters
    assert summary.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert summary.output_shape == (7,)


def test_shapes_are_those_that_come_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 4))
    shapes = [layer.output_shape for layer in summarize(network, (3, 30, 30)).layers]
    x, expected = torch.zeros(1, 3, 30, 30), []
    for layer in network:
        x = layer(x)
        expected.append(tuple(x.shape[1:]))
    assert shapes == expected


def test_a_layer_used_twice_is_listed_twice_and_counted_once() -> None:
    shared = nn.Linear(4, 4)
    summary = summarize(nn.Sequential(nn.Flatten(), shared, shared), (1, 2, 2))
    assert [layer.parameters for layer in summary.layers] == [0, 20, 0]
    assert summary.parameters == 20


def test_looking_changes_nothing() -> None:
    network = create("resnet18_32px").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.layer1.eval()  # type: ignore[union-attr]
    summarize(network, (3, 32, 32))
    assert network.training
    assert not network.layer1.training  # type: ignore[union-attr]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_doctor_names_the_layer_that_fails() -> None:
    with pytest.raises(UnfitError, match=r"layer conv3 \(Conv2d\) is 16 x 4 x 4") as caught:
        check_network(create("lenet5"), (1, 28, 28), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "least"), [("lenet", 12), ("lenet5", 32)])
def test_the_least_size_is_found_and_is_the_least(name: str, least: int) -> None:
    def build(size: int) -> nn.Module:
        return create(name, image_size=size)

    assert smallest_size(build, 1, 10, above=3) == least
    check_network(build(least), (1, least, least), 10)
    with pytest.raises(UnfitError):
        check_network(build(least - 1), (1, least - 1, least - 1), 10)


def test_where_no_size_works_none_is_told() -> None:
    assert smallest_size(lambda _: create("lenet", in_channels=3), 1, 10, above=28) is None


def test_what_comes_out_must_be_logits() -> None:
    with pytest.raises(ConfigurationError, match=r"need logits \(1, 5\)"):
        check_network(create("lenet"), (1, 28, 28), 5)
    with pytest.raises(ConfigurationError, match="returns a tuple"):
        check_network(Pair(), (1, 2, 2), 5)


class Pair(nn.Module):
    """A network with two outputs, as some with auxiliary heads have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x.flatten(1)), x
