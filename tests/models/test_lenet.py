"""The LeNets as the documents count them."""

import pytest
import torch

from lenext.inspection.summary import summarize
from lenext.models import create


@pytest.mark.parametrize(("name", "count"), [("lenet", 61_706), ("lenet5", 61_706), ("lenet5_skip", 76_270)])
def test_parameters(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in create(name).parameters()) == count


def test_lenet5_layer_by_layer() -> None:
    layers = {layer.name: layer for layer in summarize(create("lenet5"), (1, 32, 32)).layers}
    assert [layers[name].parameters for name in ("conv1", "conv2", "conv3", "fc1", "fc2")] == [
        156,
        2416,
        48120,
        10164,
        850,
    ]
    assert layers["conv3"].output_shape == (120, 1, 1)


def test_the_skip_network_normalizes_before_tanh_and_uses_every_layer() -> None:
    names = [layer.name for layer in summarize(create("lenet5_skip"), (1, 32, 32)).layers]
    expected = ["conv1", "norm1", "activation", "pool", "conv2", "norm2", "activation", "pool", "conv3", "activation"]
    assert names == [*expected, "residual", "activation", "fc1", "activation", "fc2"]


def test_both_taught_forms_are_the_same_function_of_framed_images() -> None:
    """lenet with D2's choices, given 28 px, is lenet5 given the same image framed to 32: the third convolution is a
    dense layer."""
    modern, old = create("lenet", activation="tanh", pooling="average"), create("lenet5")
    old.load_state_dict(
        {
            key.replace("fc1", "conv3").replace("fc2", "fc1").replace("fc3", "fc2"): value.view(120, 16, 5, 5)
            if key == "fc1.weight"
            else value
            for key, value in modern.state_dict().items()
        }
    )
    images = torch.randn(3, 1, 28, 28)
    framed = torch.nn.functional.pad(images, (2, 2, 2, 2))
    assert torch.allclose(modern(images), old(framed), atol=1e-5)


def test_other_sizes() -> None:
    assert create("lenet", image_size=64)(torch.zeros(2, 1, 64, 64)).shape == (2, 10)
    assert create("lenet5", image_size=40)(torch.zeros(2, 1, 40, 40)).shape == (2, 10)
