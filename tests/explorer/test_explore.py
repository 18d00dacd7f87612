"""`explore`: what it opens, what it refuses, and what it writes."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import lenext
from lenext.cli import run as run_command
from lenext.foundation.errors import ConfigurationError, LenextError
from lenext.runs.folder import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return lenext.train("lenet", "digits", epochs=1, train_samples=100, runs_dir=folder, name="a", quiet=True)


def page_of(path: Path) -> dict[str, object]:
    """Return what the page's script reads."""
    content = re.search(r'<script type="application/json" id="page">(.*?)</script>', path.read_text(), re.DOTALL)
    assert content is not None
    page: dict[str, object] = json.loads(content[1])
    return page


def test_the_page_of_a_run(run: Run) -> None:
    path = lenext.explore(run, quiet=True)
    assert path == run.path / "explorer.html"
    assert path.stat().st_size < 1_000_000
    page = page_of(path)
    assert page["classes"] == [str(digit) for digit in range(10)]
    examples = page["examples"]
    assert isinstance(examples, list)
    assert sorted({each["label"] for each in examples}) == list(range(10))
    confusion = page["confusion"]
    assert isinstance(confusion, dict)
    assert sum(map(sum, confusion["counts"])) == run.results["test"]["samples"]
    text = path.read_text()
    assert str(run.path.parent) not in text
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?https?:", text)


def test_last_weights_have_no_confusion_matrix_of_the_best(run: Run, tmp_path: Path) -> None:
    assert page_of(lenext.explore(run, weights="last", out=tmp_path / "last.html", quiet=True))["confusion"] is None


def test_weights_alone_and_a_network_by_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(run.weights("best"), "best.safetensors")
    assert lenext.explore("best.safetensors", quiet=True) == Path("best.html")
    assert lenext.explore("lenet5", quiet=True) == Path("lenet5.html")
    assert page_of(Path("lenet5.html"))["examples"] == []


def test_data_that_have_gone_leave_the_images_out(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("".join(f"{row % 2}" + f",{200 * (row % 2)}" * 64 + "\n" for row in range(40)))
    made = lenext.train("lenet", table, epochs=1, runs_dir=tmp_path / "runs", quiet=True)
    table.unlink()
    path = lenext.explore(made, quiet=True)
    assert page_of(path)["examples"] == []
    assert "no images are in the page" in path.read_text()


class OnlyInPython(nn.Module):
    """A network that draws at random when it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images) + torch.rand(1, 10)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"out": "x.txt"}, "ends in .html"),
        ({"stored_as": "fp16"}, "stored_as"),
        ({"against": "lenet_32px"}, "lenet_32px"),
        ({"against": "nowhere"}, "no such run"),
        ({"weights": "last", "pretrained": True}, "weights=last"),
    ],
)
def test_what_is_refused(arguments: dict[str, object], reason: str, run: Run) -> None:
    with pytest.raises(LenextError, match=reason):
        lenext.explore(run, quiet=True, **arguments)  # type: ignore[arg-type]


def test_large_networks_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"13 MB with int8 weights.*--stored-as int8"):
        lenext.explore("resnet18_32px", quiet=True)
    with pytest.raises(ConfigurationError, match="explore a smaller network"):
        lenext.explore("alexnet", stored_as="int8", quiet=True)


def test_a_network_that_draws_at_random_is_refused(run: Run, tmp_path: Path) -> None:
    made = lenext.train(OnlyInPython(), "digits", epochs=1, train_samples=50, runs_dir=tmp_path, quiet=True)
    with pytest.raises(ConfigurationError, match="rand"):
        lenext.explore(made, network=OnlyInPython(), out=tmp_path / "x.html", quiet=True)
    assert not (tmp_path / "x.html").exists()


def test_the_command(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["explore", str(run.path), "--out", str(tmp_path / "page.html")]) == 0
    assert "page.html" in capsys.readouterr().out
    assert run_command(["explore", str(tmp_path)]) == 2
