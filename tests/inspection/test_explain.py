"""Explanations: they depend on the weights, and on the place where what matters is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lenext
from lenext.foundation.errors import ConfigurationError
from lenext.inspection.explain import METHODS, feature_maps, grad_cam, last_map, map_layers, occlusion, saliency
from lenext.models import FAMILIES, find_variant

SMALL = [name for names in FAMILIES.values() for name in names if find_variant(name).kind == "small pictures"]


def planted(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise (N, 1, 32, 32) with, for class 1 and 2, a bright or a striped square of 8 px in one of four corners."""
    draw = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 1, 32, 32, generator=draw)
    labels, corners = torch.arange(count) % 3, torch.randint(0, 4, (count,), generator=draw)
    stripes = torch.tensor([2.5, -2.5]).repeat(4)[:, None].expand(8, 8)
    for row, (label, corner) in enumerate(zip(labels.tolist(), corners.tolist(), strict=True)):
        top, left = 24 * (corner // 2), 24 * (corner % 2)
        if label:
            images[row, 0, top : top + 8, left : left + 8] = 2.5 if label == 1 else stripes
    return images, labels, corners


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A small network that has learned the squares."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    for step in range(150):
        images, labels, _ = planted(48, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(images), labels).backward()
        optimizer.step()
    images, labels, _ = planted(90, 1000)
    assert (made(images).argmax(1) == labels).float().mean() > 0.95
    return made


@pytest.mark.parametrize("name", METHODS)
def test_the_map_peaks_where_the_object_is(network: nn.Module, name: str) -> None:
    images, labels, corners = planted(60, 2000)
    some = labels > 0
    images, labels, corners = images[some], labels[some], corners[some]
    maps = METHODS[name](network, images, labels)
    assert maps.shape == (len(images), 32, 32)
    assert maps.min() >= 0
    assert torch.allclose(maps.amax((1, 2)), torch.ones(len(maps)))
    places = maps.flatten(1).argmax(1)
    rows, columns = places // 32, places % 32
    found = 2 * (rows >= 16).long() + (columns >= 16).long()
    least = 0.7 if name == "saliency" else 0.9  # single pixels are noisier than maps; chance is 0.25
    assert (found == corners).float().mean() > least


@pytest.mark.parametrize("name", METHODS)
def test_other_weights_give_another_map(network: nn.Module, name: str) -> None:
    images, labels, _ = planted(12, 3000)
    images, labels = images[labels > 0], labels[labels > 0]
    ours, likeness = METHODS[name](network, images, labels), []
    for seed in range(5):
        torch.manual_seed(seed)
        drawn = nn.Sequential(*(type_of(module) for module in network))
        theirs = METHODS[name](drawn, images, labels)
        likeness.append(float(torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]))
    assert sum(likeness) / len(likeness) < 0.8
    assert torch.equal(ours, METHODS[name](network, images, labels))


def type_of(module: nn.Module) -> nn.Module:
    """The same layer with weights of its own."""
    import copy

    other = copy.deepcopy(module)
    if hasattr(other, "reset_parameters"):
        other.reset_parameters()
    return other


def test_saliency_is_the_gradient() -> None:
    """Of a linear network: the weights themselves."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    found = saliency(network, torch.randn(2, 3, 2, 2), torch.tensor([1, 3]))
    weights = network[1].weight.detach()[[1, 3]].view(2, 3, 2, 2).abs().amax(1)
    assert torch.allclose(found, weights / weights.amax((1, 2), keepdim=True))


def test_grad_cam_by_hand() -> None:
    """Of global average pooling and a dense layer: the class's weights over the maps (arXiv:1512.04150)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    images = torch.randn(4, 1, 6, 6)
    labels = torch.tensor([0, 1, 2, 0])
    by_hand = torch.einsum("nk,nkhw->nhw", network[3].weight[labels], network[0](images)).relu().detach()
    by_hand = by_hand / by_hand.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert torch.allclose(grad_cam(network, images, labels), by_hand, atol=1e-5)


def test_occlusion_leaves_what_does_not_matter() -> None:
    """A network that looks at one corner only loses nothing elsewhere."""

    class Corner(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen = images[:, 0, :4, :4].mean((1, 2))
            return torch.stack([seen, -seen], 1)

    found = occlusion(Corner(), torch.ones(1, 1, 32, 32), torch.tensor([0]))[0]
    assert found[:4, :4].min() > 0.3
    assert found[20:, 20:].max() == 0


class OnePixel(nn.Module):
    """Reads one pixel, and is the surer of class 0 the brighter it is."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, 0, self.row, self.column]
        return torch.stack([4 * value, -4 * value], 1)


def centroid(weights: Tensor) -> tuple[float, float]:
    """The centre of mass of a map (H, W), in pixels."""
    rows, columns = (torch.arange(length, dtype=torch.float64) for length in weights.shape)
    shares = weights.double() / weights.double().sum()
    return float((shares.sum(1) * rows).sum()), float((shares.sum(0) * columns).sum())


@settings(max_examples=25)
@given(st.sampled_from([(28, 28), (32, 32), (40, 24), (33, 47)]), st.data())
def test_an_occlusion_map_is_centred_on_the_pixel_that_matters(size: tuple[int, int], data: st.DataObject) -> None:
    """To 1 px by squares a pixel or two apart; by the usual steps to half of one, and on the average exactly."""
    height, width = size
    side = min(size) // 4
    row, column = (data.draw(st.integers(side, length - 1 - side)) for length in size)
    images, labels = torch.ones(1, 1, height, width), torch.tensor([0])
    for step in (1, 2, side // 2):
        found = centroid(occlusion(OnePixel(row, column), images, labels, step=step)[0])
        assert abs(found[0] - row) <= max(1.0, step / 2)
        assert abs(found[1] - column) <= max(1.0, step / 2)


@pytest.mark.parametrize(("row", "column"), [(97, 133)])
def test_an_occlusion_map_at_224_pixels(row: int, column: int) -> None:
    images, labels = torch.ones(1, 1, 224, 224), torch.tensor([0])
    fine = centroid(occlusion(OnePixel(row, column), images, labels, step=2)[0])
    assert max(abs(fine[0] - row), abs(fine[1] - column)) <= 1
    usual = centroid(occlusion(OnePixel(row, column), images, labels)[0])
    assert max(abs(usual[0] - row), abs(usual[1] - column)) <= 14  # half of a step


def test_an_occlusion_map_is_not_displaced() -> None:
    """Over all pixels of a step, by the usual squares at 224 px, the centroids are on the average where they should
    be: not half a step away."""
    images, labels = torch.ones(1, 1, 224, 224), torch.tensor([0])
    offsets = [centroid(occlusion(OnePixel(at, at), images, labels)[0])[0] - at for at in range(84, 112)]
    assert abs(sum(offsets) / len(offsets)) < 0.01


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_an_occluding_square_has_the_side_that_is_said(side: int) -> None:
    """Of a network that counts how many pixels are bright."""
    seen: list[Tensor] = []

    class Bright(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((images == 0).sum((1, 2, 3)))
            return images.mean((2, 3)).repeat(1, 2)

    occlusion(Bright(), torch.ones(1, 1, 20, 20), torch.tensor([0]), side)
    assert int(torch.cat(seen).max()) == side * side


@pytest.mark.parametrize("name", SMALL)
def test_a_layer_is_found_in_every_network(name: str) -> None:
    """A map of more than one pixel, the last one; nothing is left on the network."""
    network = lenext.create(name, in_channels=3, num_classes=4)
    network.train()
    images = torch.randn(2, 3, 32, 32)
    layer = last_map(network, images)
    (maps,) = feature_maps(network, images, [layer]).values()
    assert maps.ndim == 4
    assert maps.shape[2] * maps.shape[3] > 1
    assert map_layers(network, images)[-1] == layer
    for method in METHODS.values():
        assert method(network, images, torch.tensor([0, 3])).isfinite().all()
    assert network.training
    assert all(not module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_maps_it_is_said() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ConfigurationError, match="no layer that gives a map"):
        grad_cam(network, torch.zeros(1, 1, 2, 2), torch.tensor([0]))
    with pytest.raises(ConfigurationError, match="there is no layer 'convv'"):
        feature_maps(network, torch.zeros(1, 1, 2, 2), ["convv"])
