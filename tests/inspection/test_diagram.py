"""Diagrams contain the network's layers, shapes and joins."""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import nn

import lenext
from lenext.cli import run as run_command_line
from lenext.foundation.errors import ConfigurationError
from lenext.inspection.diagram import COLORS, Direction, Shape, lay_out
from lenext.inspection.diagram_svg import to_svg
from lenext.inspection.layer_labels import describe_layer
from lenext.inspection.network_graph import block_graph, network_graph
from lenext.models import MODELS, create, find_variant
from lenext.workflows.networks import build_for_inspection

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
    tree = ElementTree.fromstring(to_svg(lay_out([(name, nodes), ("again <&>", nodes)])))
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


@pytest.mark.parametrize("direction", ["portrait", "landscape"])
@pytest.mark.parametrize("shape", ["boxes", "volumes"])
@pytest.mark.parametrize("name", ["lenet", "vgg11_32px", "resnet18_32px", "googlenet_paper", "densenet_32px"])
def test_boxes_stay_apart_and_inside_and_follow_the_direction(name: str, direction: Direction, shape: Shape) -> None:
    variant = find_variant(name)
    size = (variant.parameters()["in_channels"].default, variant.image_size, variant.image_size)
    nodes = network_graph(create(name), size)
    drawing = lay_out([(name, nodes)], direction, shape)
    (column,), (width, height) = drawing.columns, drawing.size
    for box in column.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width + box.depth <= width
        assert max(box.y + box.height, box.label_y + 15) <= height
    for number, first in enumerate(column.boxes):
        for second in column.boxes[number + 1 :]:
            apart_x = first.x + first.width <= second.x or second.x + second.width <= first.x
            apart_y = first.y + first.height <= second.y or second.y + second.height <= first.y
            assert apart_x or apart_y, (first.label, second.label)
    for node, box in zip(nodes, column.boxes, strict=True):
        for source in node.inputs:
            before = column.boxes[source]
            assert (before.y < box.y) if direction == "portrait" else (before.x < box.x)


def test_a_volume_shrinks_as_its_map_does_and_deepens_as_its_channels_do() -> None:
    nodes = network_graph(create("vgg11_32px"), (3, 32, 32))
    boxes = lay_out([("vgg", nodes)], "landscape", "volumes").columns[0].boxes
    maps = [(node.shape, box) for node, box in zip(nodes, boxes, strict=True) if len(node.shape) == 3]
    for (first, one), (second, other) in itertools.pairwise(maps):
        assert (one.height > other.height) == (first[1] > second[1])
        assert (one.width < other.width) == (first[0] < second[0])


def test_layers_are_drawn_with_norms_and_activations_in_their_colors() -> None:
    nodes = network_graph(create("resnet18_32px"), (3, 32, 32), "layer")
    kinds = [node.kind for node in nodes]
    assert kinds.count("norm") == 20
    assert kinds.count("activation") == 17
    assert kinds.count("join") == 8
    svg = to_svg(lay_out([("resnet", nodes)]))
    assert svg.count(COLORS["norm"][0]) == 20
    assert svg.count(COLORS["activation"][0]) == 17


@pytest.mark.usefixtures("drawn_figures")
def test_files_by_suffix(tmp_path: Path) -> None:
    drawn = lenext.diagram("lenet", direction="landscape", shape="volumes")
    for suffix in ("svg", "png", "pdf"):
        drawn.save(tmp_path / f"lenet.{suffix}")
    width, height = drawn.drawing.size
    with Image.open(tmp_path / "lenet.png") as image:
        assert image.width / image.height == pytest.approx(width / height, rel=0.01)
    assert (tmp_path / "lenet.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ConfigurationError, match=r"written as \.svg, \.png, \.pdf"):
        drawn.save(tmp_path / "lenet.gif")


def test_a_block_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["diagram", "lenet"]) == 0
    full = Path("lenet.svg").read_text()
    assert run_command_line(["diagram", "resnet18_32px", "--block", "layer1.0"]) == 0
    assert run_command_line(["diagram", "resnet18_32px"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "lenet.svg", "resnet18_32px-layer1.0.svg", "resnet18_32px.svg"
    }  # fmt: skip
    assert Path("lenet.svg").read_text() == full


@pytest.mark.parametrize(
    "option", [{"direction": "up"}, {"shape": "balls"}, {"by": "part"}, {"by": "layer", "block": "features"}]
)
def test_a_diagram_that_cannot_be_drawn(option: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        lenext.diagram("vgg11_32px", **option)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("lenet", ("C1", "S2", "C3", "S4", "C5", "F6", "output")),
        ("resnet18", ("conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x")),
        ("googlenet", ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
        ("convnext_tiny", ("stem", "res2", "res3", "res4", "res5")),
    ],
)
def test_parts_have_the_papers_names(name: str, labels: tuple[str, ...]) -> None:
    text = lenext.diagram(name).svg
    positions = [text.index(f"{label}: ") for label in labels]
    assert positions == sorted(positions)


def test_a_pattern_of_a_papers_names_fits_each_network_that_has_it() -> None:
    for name in MODELS:
        names = find_variant(name).paper_names
        if not names:
            continue
        module, shape = build_for_inspection(name, {}, None, None, None)
        labels = " ".join(node.label for node in network_graph(module, shape, "layer", names))
        blocks = " ".join(node.label for node in network_graph(module, shape, "block", names))
        assert ": " in labels or ": " in blocks, name
