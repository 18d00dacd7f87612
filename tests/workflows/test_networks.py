"""`lenext.summary` and `lenext.diagram`: the table and the SVG of the command line, from Python."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import lenext
from lenext.cli import run as run_command_line
from lenext.foundation.errors import ConfigurationError


@pytest.mark.parametrize("by", ["layer", "block", "stage"])
def test_a_summary_prints_as_the_command_line(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["summary", "resnet18", "--by", by]) == 0
    printed = capsys.readouterr().out
    assert str(lenext.summary("resnet18", by=by)).split() == printed.split()  # type: ignore[arg-type]


def test_a_summary_takes_options_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    table = lenext.summary("lenet", image_size=40, channels=3, classes=7, options={"activation": "tanh"})
    assert table.summary.input_shape == (3, 40, 40)
    assert table.summary.output_shape == (7,)
    words = ["--image-size", "40", "--channels", "3", "--classes", "7", "--option", "activation=tanh", "--json"]
    assert run_command_line(["summary", "lenet", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["parameters"] == table.summary.parameters
    assert [layer["name"] for layer in printed["layers"]] == [layer.name for layer in table.layers]


def test_a_summary_is_html_in_a_notebook() -> None:
    html = lenext.summary("lenet")._repr_html_()
    assert html.count("<tr>") == 1 + len(lenext.summary("lenet").rows())
    assert "<td>conv1</td>" in html


def test_a_module_is_summarized_and_drawn() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    table = lenext.summary(network, image_size=8, channels=1)
    assert table.summary.parameters == sum(weight.numel() for weight in network.parameters())
    assert "Conv" in lenext.diagram(network, image_size=8, channels=1).svg
    with pytest.raises(ConfigurationError, match="give image_size"):
        lenext.summary(network)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 3)


def test_a_diagram_is_the_file_of_the_command_line(tmp_path: Path) -> None:
    assert run_command_line(["diagram", "lenet", "--against", "lenet5", "--out", str(tmp_path / "cli.svg")]) == 0
    diagram = lenext.diagram("lenet", against="lenet5")
    diagram.save(tmp_path / "python.svg")
    assert (tmp_path / "python.svg").read_text() == (tmp_path / "cli.svg").read_text() == diagram._repr_svg_()
