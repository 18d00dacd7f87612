"""Explanations depend on the weights, and on the position of what the network uses."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lenext
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.explain import (
    METHODS,
    capture_outputs,
    feature_maps,
    grad_cam,
    last_map_layer,
    map_centers,
    map_layers,
    occlusion,
    saliency,
)
from lenext.inspection.field_tracing import FieldTracer, set_field
from lenext.inspection.receptive_field import image_field
from lenext.models import FAMILIES, find_variant

SMALL = [name for names in FAMILIES.values() for name in names if find_variant(name).kind == "small images"]


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
    classifier = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(classifier.parameters(), 3e-3)
    for step in range(150):
        images, labels, _ = planted(48, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(images), labels).backward()
        optimizer.step()
    images, labels, _ = planted(90, 1000)
    assert (classifier(images).argmax(1) == labels).float().mean() > 0.95
    return classifier


@pytest.mark.parametrize("name", METHODS)
def test_the_map_peaks_where_the_object_is(network: nn.Module, name: str) -> None:
    images, labels, corners = planted(60, 2000)
    is_object = labels > 0
    images, labels, corners = images[is_object], labels[is_object], corners[is_object]
    maps = METHODS[name](network, images, labels)
    assert maps.shape == (len(images), 32, 32)
    assert maps.min() >= 0
    assert torch.allclose(maps.amax((1, 2)), torch.ones(len(maps)))
    places = maps.flatten(1).argmax(1)
    rows, columns = places // 32, places % 32
    quadrants = 2 * (rows >= 16).long() + (columns >= 16).long()
    least = 0.7 if name == "saliency" else 0.9  # single pixels are noisier than maps; chance is 0.25
    assert (quadrants == corners).float().mean() > least


@pytest.mark.parametrize("name", METHODS)
def test_other_weights_give_another_map(network: nn.Module, name: str) -> None:
    images, labels, _ = planted(12, 3000)
    torch.manual_seed(5)
    drawn = nn.Sequential(*(type_of(module) for module in network))
    ours, theirs = (METHODS[name](module, images[labels > 0], labels[labels > 0]) for module in (network, drawn))
    like = torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]
    assert like < 0.8
    again = METHODS[name](network, images[labels > 0], labels[labels > 0])
    assert torch.equal(ours, again)


def type_of(module: nn.Module) -> nn.Module:
    """Return a copy of a layer with new weights."""
    import copy

    copied = copy.deepcopy(module)
    if hasattr(copied, "reset_parameters"):
        copied.reset_parameters()
    return copied


def test_saliency_is_the_gradient() -> None:
    """The saliency of a linear network is its weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    result = saliency(network, torch.randn(2, 3, 2, 2), torch.tensor([1, 3]))
    weights = network[1].weight.detach()[[1, 3]].view(2, 3, 2, 2).abs().amax(1)
    assert torch.allclose(result, weights / weights.amax((1, 2), keepdim=True))


def test_grad_cam_by_hand() -> None:
    """With global average pooling and a dense layer, the map is that of class activation mapping (arXiv:1512.04150)."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    images = torch.randn(4, 1, 6, 6)
    labels = torch.tensor([0, 1, 2, 0])
    by_hand = torch.einsum("nk,nkhw->nhw", network[3].weight[labels], network[0](images)).relu().detach()
    by_hand = by_hand / by_hand.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert torch.allclose(grad_cam(network, images, labels), by_hand, atol=1e-5)


def test_occlusion_leaves_what_does_not_matter() -> None:
    """A network that uses one corner only loses nothing elsewhere."""

    class Corner(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            corner = images[:, 0, :4, :4].mean((1, 2))
            return torch.stack([corner, -corner], 1)

    result = occlusion(Corner(), torch.ones(1, 1, 32, 32), torch.tensor([0]))[0]
    assert result[:4, :4].min() > 0.3
    assert result[20:, 20:].max() == 0


class OnePixel(nn.Module):
    """A network that reads one pixel, and stores its inputs."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column
        self.images: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.images.append(images)
        value = images[:, 0, self.row, self.column]
        return torch.stack([5 * value, -5 * value], 1)


def center(result: Tensor) -> tuple[float, float]:
    """The centroid of a map, in pixels."""
    rows, columns = (torch.arange(float(length)) for length in result.shape)
    return float((result.sum(1) * rows).sum() / result.sum()), float((result.sum(0) * columns).sum() / result.sum())


def off(network: OnePixel, result: Tensor) -> float:
    """Pixels from the centroid of a map to the pixel that a network reads, on the worse side."""
    row, column = center(result)
    return max(abs(row - network.row), abs(column - network.column))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(8, 8), (28, 28), (32, 32), (28, 32), (33, 47)]), st.data())
def test_occlusion_is_centered_on_the_pixel_that_is_read(shape: tuple[int, int], data: st.DataObject) -> None:
    """The position is right to 1 px; closer to the border than half a square, where the map ends, to 2 px."""
    network = OnePixel(*(data.draw(st.integers(0, length - 1)) for length in shape))
    result = occlusion(network, torch.ones(1, 1, *shape), torch.tensor([0]))[0]
    side = max(1, min(shape) // 4)
    inside = all(side <= at < length - side for at, length in zip((network.row, network.column), shape, strict=True))
    assert off(network, result) <= (1.001 if inside else 2.5)


@settings(max_examples=15, deadline=None)
@given(st.integers(56, 167), st.integers(56, 167))
def test_occlusion_of_large_images_is_centered_as_exactly_as_squares_are_dense(row: int, column: int) -> None:
    """Pixels that the same squares cover cannot be distinguished: edges of squares are 19 px from each other."""
    image, label = torch.ones(1, 1, 224, 224), torch.tensor([0])
    network = OnePixel(row, column)
    assert off(network, occlusion(network, image, label)[0]) <= 9.001


@pytest.mark.parametrize(("row", "column"), [(112, 112), (60, 163), (101, 90)])
def test_occlusion_with_a_small_step_is_exact_at_224(row: int, column: int) -> None:
    network = OnePixel(row, column)
    result = occlusion(network, torch.ones(1, 1, 224, 224), torch.tensor([0]), step=3)[0]
    assert off(network, result) <= 1.001


@pytest.mark.parametrize("size", [8, 28, 32, 224])
def test_occlusion_is_not_displaced(size: int) -> None:
    """Over the pixels of a diagonal, an error on one half has the opposite sign on the other."""
    image, label, errors = torch.ones(1, 1, size, size), torch.tensor([0]), []
    for at in range(0, size, 1 if size < 100 else 5):
        row, column = center(occlusion(OnePixel(at, size - 1 - at), image, label)[0])
        errors.append([row - at, column - (size - 1 - at)])
    assert torch.tensor(errors).mean(0).abs().max() < 0.05 * max(1, size // 32)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 9))
def test_squares_are_as_large_as_asked(height: int, width: int, side: int, step: int) -> None:
    network = OnePixel(0, 0)
    result = occlusion(network, torch.ones(1, 1, height, width), torch.tensor([0]), side, step)
    assert result.shape == (1, height, width)
    assert result.isfinite().all()
    side = side or max(1, min(height, width) // 4)
    blanked = torch.cat(network.images[1:])[:, 0] == 0
    for square in blanked:
        rows, columns = square.any(1).nonzero()[:, 0].tolist(), square.any(0).nonzero()[:, 0].tolist()
        assert square.sum() == len(rows) * len(columns)
        for cells, length in ((rows, height), (columns, width)):
            assert len(cells) == side or (len(cells) < side and (not cells or cells[0] == 0 or cells[-1] == length - 1))
    if (step or 1) <= side:
        assert blanked.any(0).all()  # each pixel is covered at least once


def reader(kernel: int, stride: int, padding: int) -> nn.Conv2d:
    """A convolution that takes the pixel in the middle of its window."""
    layer = nn.Conv2d(1, 1, kernel, stride, padding, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[..., kernel // 2, kernel // 2] = 1
    return layer


STRIDED: dict[str, tuple[Callable[[], list[nn.Module]], int, int]] = {  # with the pixel that value i reads: a + b i
    "halved three times": (lambda: [reader(3, 2, 1) for _ in range(3)], 0, 8),
    "ResNet's beginning": (lambda: [reader(7, 2, 3), nn.MaxPool2d(3, 2, 1), reader(1, 2, 0)], 0, 8),
    "without padding": (lambda: [reader(5, 2, 0), reader(3, 2, 0)], 4, 4),
    "the same size": (lambda: [reader(5, 1, 2)], 0, 1),
    "patches": (lambda: [reader(5, 5, 0)], 2, 5),
}


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("method", ["saliency", "Grad-CAM"])
def test_maps_of_strided_layers_stand_where_they_look(name: str, method: str) -> None:
    build, first, step = STRIDED[name]
    network = nn.Sequential(*build(), Total())
    size = 96
    for place in (size // step // 3, size // step // 2):
        row, column = first + step * place, first + step * (place + 1)
        image = torch.zeros(1, 1, size, size)
        image[..., row, column] = 1
        result = METHODS[method](network if method == "Grad-CAM" else network[:-1].append(At(place)), image, ZERO)[0]
        assert center(result) == pytest.approx((row, column), abs=1)


ZERO = torch.tensor([0])


class Total(nn.Module):
    """The sum of each map, as logits."""

    def forward(self, maps: Tensor) -> Tensor:
        value = maps.sum((1, 2, 3))
        return torch.stack([value, -value], 1)


class At(nn.Module):
    """One value of a map, and the next one's."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, maps: Tensor) -> Tensor:
        value = maps[:, 0, self.place, self.place + 1]
        return torch.stack([value, -value], 1)


def test_grad_cam_of_a_resnet_is_not_displaced() -> None:
    """The map of a mirrored image is mirrored, except for the padding of a stride's odd pixel."""
    network = lenext.create("resnet18", in_channels=1)
    assert [round(a - b, 3) for b, a in pairwise(centers_of(network, "layer4", 224))] == [32.0] * 6
    assert centers_of(network, "layer4", 224)[0] == 0.5
    assert centers_of(lenext.create("vgg11", in_channels=1), "features.19", 224)[0] == 8.0


def centers_of(network: nn.Module, layer: str, size: int) -> list[float]:
    """The rows of a layer's maps, in pixels from the edge."""
    image = torch.zeros(1, 1, size, size)
    set_field(image, image_field(image.shape))
    with evaluation_mode(network), capture_outputs(network, [layer]) as outputs, torch.no_grad(), FieldTracer():
        network(image)
    return map_centers(outputs[layer], size, size)[0]


@pytest.mark.parametrize("name", SMALL)
def test_a_layer_is_found_in_every_network(name: str) -> None:
    """The last map has more than one pixel; no hook remains on the network."""
    network = lenext.create(name, in_channels=3, num_classes=4)
    network.train()
    images = torch.randn(2, 3, 32, 32)
    layer = last_map_layer(network, images)
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
    with pytest.raises(ConfigurationError, match="no layer whose output is a map"):
        grad_cam(network, torch.zeros(1, 1, 2, 2), torch.tensor([0]))
    with pytest.raises(ConfigurationError, match="there is no layer 'convv'"):
        feature_maps(network, torch.zeros(1, 1, 2, 2), ["convv"])
