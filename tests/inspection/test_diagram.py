"""Diagrams contain the network's layers, shapes and joins."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from lenext.foundation.errors import ConfigurationError
from lenext.inspection.diagram import draw_diagram
from lenext.inspection.layer_labels import describe_layer
from lenext.inspection.network_graph import block_graph, network_graph
from lenext.models import MODELS, create, find_variant

SMALL = [name for name in MODELS if find_variant(name).image_size <= 96]


def test_a_residual_block() -> None:
    nodes = block_graph(create("resnet18_32px"), "layer2.0", (3, 32, 32))
    labels = [node.label for node in nodes]
    times = "\u00d7"
    assert labels == [
        "input", f"Conv 3{times}3 /2, 128", "Batch norm", "ReLU", f"Conv 3{times}3, 128", "Batch norm",
        f"Conv 1{times}1 /2, 128", "Batch norm", "+", "ReLU",
    ]  # fmt: skip
    plus = labels.index("+")
    assert nodes[plus].inputs == (5, 7)
    assert nodes[6].inputs == (0,)
    assert nodes[plus].shape == (128, 16, 16)


def test_a_block_whose_shortcut_is_its_input() -> None:
    nodes = block_graph(create("resnet18_32px"), "layer2.1", (3, 32, 32))
    assert next(node for node in nodes if node.label == "+").inputs == (5, 0)


def test_an_inception_block_has_four_ways() -> None:
    nodes = block_graph(create("googlenet_paper"), "inception3a", (3, 96, 96))
    join = next(node for node in nodes if node.label == "concatenate")
    assert len(join.inputs) == 4
    assert join.shape == (256, 12, 12)
    assert sum(0 in node.inputs for node in nodes) == 4


def test_a_whole_network_counts_repeats_and_leaves_small_change_out() -> None:
    nodes = network_graph(create("resnet18_32px"), (3, 32, 32))
    assert [(node.label, node.times) for node in nodes if node.kind == "block"] == [("Basic block", 2)] * 4
    assert not any("norm" in node.label.lower() or node.label == "ReLU" for node in nodes)
    assert [node.inputs for node in nodes[1:]] == [(at,) for at in range(len(nodes) - 1)]


@pytest.mark.parametrize("name", SMALL)
def test_every_network_is_drawn_from_image_to_classes(name: str) -> None:
    variant = find_variant(name)
    shape = (variant.parameters()["in_channels"].default, variant.image_size, variant.image_size)
    network = create(name)
    nodes = network_graph(network, shape)
    assert nodes[0].shape == shape
    assert nodes[-1].shape[0] == 10
    tree = ElementTree.fromstring(draw_diagram([(name, nodes), ("again <&>", nodes)]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f".//{space}rect")) == 1 + 2 * len(nodes)
    edges = sum(len(node.inputs) for node in nodes)
    assert len(tree.findall(f".//{space}g//{space}path")) == 2 * edges
    width = float(tree.get("width", "0"))
    for group in tree.findall(f"{space}g"):
        left = float(group.get("transform", "(0 ").split("(")[1].split()[0])
        for rect in group.findall(f"{space}rect"):
            assert left + float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width


def test_the_first_layer_of_lenet_is_an_ordinary_convolution() -> None:
    times = "\u00d7"
    assert network_graph(create("lenet"), (1, 28, 28))[1].label == f"Conv 5{times}5, 6"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_label_says_depthwise_only_of_depthwise_convolutions(name: str, channels: int) -> None:
    with torch.device("meta"):
        network = create(name, in_channels=channels)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            depthwise = layer.groups == layer.in_channels > 1
            assert ("Depthwise" in describe_layer(layer)[1]) == depthwise


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        (nn.Conv2d(4, 8, (1, 7)), "Conv 1x7, 8"), (nn.Conv2d(4, 8, 3, (2, 1)), "Conv 3x3 /2x1, 8"),
        (nn.Conv2d(4, 8, 3, 2, groups=2), "Conv (2 groups) 3x3 /2, 8"),
        (nn.Conv2d(4, 8, 3, groups=4), "Depthwise 3x3, 8"),
        (nn.MaxPool2d((2, 3)), "Max pool 2x3 /2x3"), (nn.AdaptiveAvgPool2d(1), "Global average pool"),
        (nn.AdaptiveMaxPool2d((1, 4)), "Max pool to 1x4"), (nn.AdaptiveAvgPool2d((None, 4)), "Average pool to Hx4"),
    ],
)  # fmt: skip
def test_both_sides_of_a_window_are_told(layer: nn.Module, label: str) -> None:
    assert describe_layer(layer)[1].replace("\u00d7", "x") == label


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'layer2'"):
        block_graph(create("resnet18_32px"), "layer_2", (3, 32, 32))
