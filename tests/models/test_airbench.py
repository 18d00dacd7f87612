"""The whitening layer by its definition, and what the network of the speed record is made of."""

import torch
from torch import nn

import lenext
from lenext.models import create
from lenext.models.whitening import Whitening
from lenext.training.recipe import Recipe


def test_whitened_patches_are_uncorrelated_and_of_one_length() -> None:
    torch.manual_seed(0)
    images = nn.functional.avg_pool2d(torch.randn(200, 3, 22, 22), 3, 1)  # neighbours have much in common
    layer = Whitening(3)
    layer.fit(images, smoothing=0.0)
    assert bool(layer.fitted)
    with torch.no_grad():
        half = layer(images)[:, :12].permute(0, 2, 3, 1).flatten(0, 2)
        assert torch.allclose(half.T @ half / len(half), torch.eye(12), atol=1e-3)
        assert torch.equal(layer(images)[:, :12], -layer(images)[:, 12:])


def test_training_fits_the_whitening_once(digits: lenext.Dataset) -> None:
    recipe = Recipe(epochs=1, train_samples=200, learning_rate=0.01, validation_fraction=0.0)
    network = create("airbench94", in_channels=1)
    layer = network.whiten
    assert isinstance(layer, Whitening)
    random = layer.weight.clone()
    list(lenext.fit(network, digits, recipe))
    fitted = layer.weight.clone()
    assert not torch.equal(fitted, random)
    list(lenext.fit(network, digits, recipe.with_keys({"scaling": "unit"})))
    assert torch.equal(layer.weight, fitted)
    assert "whiten.weight" not in dict(network.named_parameters())


def test_averaged_weights_have_the_fitted_filters(digits: lenext.Dataset) -> None:
    network = create("airbench94", in_channels=1)
    list(lenext.fit(network, digits, Recipe(epochs=1, train_samples=100, ema_decay=0.9, validation_fraction=0.0)))
    assert isinstance(network.whiten, Whitening)
    assert bool(network.whiten.fitted)
