"""Several runs on a page, records for TensorBoard, and charts of braille characters."""

import io
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError
from lenext.reporting.braille import BLANK, DOT_BITS, draw_chart
from lenext.reporting.console import Console
from lenext.reporting.training_display import epoch_bar
from lenext.runs.folder import Run
from lenext.training.metrics import Record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("compare")
    settings: dict[str, Any] = {"train_samples": 200, "runs_dir": folder, "quiet": True, "epochs": 2}
    return [lenext.train(name, "digits", **settings) for name in ("lenet", "lenet5")]


def test_the_page_holds_the_runs(runs: list[Run], tmp_path: Path) -> None:
    page = lenext.compare(*runs, out=tmp_path / "c.html").read_text()
    for run in runs:
        assert f"{run.results['test']['accuracy']:.1%}" in page
        points = re.findall(rf'data-name="{run.path.name}" data-points="([^"]*)"', page)
        assert [text.split(" ")[-1].split(",")[3] for text in points[:2]] == [
            f"{run.records[-1].val_loss:.4g}", f"{run.records[-1].val_accuracy:.1%}"
        ]  # fmt: skip
    assert "cannot be compared directly" not in page


def test_runs_that_differ_and_broken_ones(runs: list[Run], few: Dataset, tmp_path: Path) -> None:
    broken = lenext.train("lenet", few, epochs=1, runs_dir=tmp_path, quiet=True)
    (broken.path / "results.csv").write_text("epoch\nx\n")
    page = lenext.compare(runs[0], broken, out=tmp_path / "c.html").read_text()
    assert "cannot be compared directly" in page
    assert "results.csv: cannot be read" in page
    with pytest.raises(ConfigurationError, match="two runs or more"):
        lenext.compare(runs[0])


class Writer:
    """Stands in for torch's SummaryWriter; fails from the second record on, if asked."""

    writers: list["Writer"] = []  # noqa: RUF012
    fails = False

    def __init__(self, folder: str) -> None:
        self.folder, self.seen = folder, dict[tuple[str, int], float]()
        self.writers.append(self)

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        if self.fails and epoch > 1:
            raise OSError("No space left on device")
        self.seen[name, epoch] = value

    def flush(self) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("fails", [False, True])
def test_tensorboard_has_the_records_and_stops_nothing(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "fails", fails)
    run = lenext.train("lenet", few, epochs=3, runs_dir=tmp_path, tensorboard=True)
    writer, records = Writer.writers[-1], run.records
    assert writer.folder == str(run.path / "tensorboard")
    assert len(records) == 3
    for record in records[: 1 if fails else 3]:
        assert writer.seen["val_accuracy", record.epoch] == record.val_accuracy
        assert writer.seen["train_loss", record.epoch] == record.train_loss
    assert capsys.readouterr().out.count("nothing is written for TensorBoard (OSError") == fails


def test_missing_tensorboard_is_reported(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    lenext.train("lenet", few, epochs=1, runs_dir=tmp_path, tensorboard=True)
    assert "pip install 'lenext[tensorboard]'" in capsys.readouterr().out


def test_a_braille_chart() -> None:
    """Each dot is where a by-hand line through the values has it."""
    drawn = draw_chart("t", [([0.0, 1.0], "a")], 4, 2).plain.split("\n")
    assert drawn[0].split() == ["t"]
    assert [line[:1] for line in drawn[1:]] == ["1", "0"]
    rows = [[ord(letter) - BLANK for letter in line[2:]] for line in drawn[1:]]
    lit = {
        (2 * at + right, 4 * row + down)
        for row, letters in enumerate(rows)
        for at, bits in enumerate(letters)
        for down, pair in enumerate(DOT_BITS)
        for right, bit in enumerate(pair)
        if bits & bit
    }
    assert lit == {(at, 7 - at) for at in range(8)}


def test_a_braille_chart_without_finite_values() -> None:
    for values in ([], [None, None], [float("nan")], [0.3], [0.3, 0.3, None]):
        assert len(draw_chart("t", [(values, "")], 5, 2, percent=True).plain.split("\n")) == 3


def test_the_bar_has_charts_of_the_epochs() -> None:
    console = Console()
    console.terminal = RichConsole(force_terminal=True, width=100, height=30, file=io.StringIO())
    with epoch_bar(console, 3, 10) as bar:
        bar.show_record(Record(1, 1.0, 2.0, 0.1, 2.1, 0.2, 0.1), True)
        assert bar.bar_and_charts() is bar.progress
        bar.show_record(Record(2, 1.0, 1.0, 0.4, 1.3, 0.5, 0.1), True)
        console.terminal.print(bar.bar_and_charts())
        console.terminal.size = ConsoleDimensions(40, 30)
        assert bar.bar_and_charts() is bar.progress  # no room
    output = console.terminal.file.getvalue()  # type: ignore[attr-defined]
    for edge in ("1", "2.1", "10%", "50%"):
        assert edge in output
