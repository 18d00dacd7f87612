"""Names that move the cursor, files that never end, code that raises anything, refusals that leave nothing."""

import os
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from lenext.cli import run
from lenext.data import load
from lenext.foundation.errors import DataError

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ESCAPE = "\x1b]0;owned\x07"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_reach_terminal_and_log_as_text(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of classes, files, options, data and networks; an error is one line."""
    for label in ("a\x1b[2J", f"b{ESCAPE}"):
        (here / "data" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (12, 12), 20 * number).save(here / "data" / label / f"{number}\x9b1m.png")
    assert run(["train", "lenet", "--data", "data", "--epochs", "1", "--name", "a", "--image-size", "28"]) == 0
    assert run(["predict", "runs/a", "data"]) == 0
    assert run(["predict", "runs/a", "data", "--format", "csv", "--top", "2"]) == 0
    assert run(["predict", "runs/a", "data", "--format", "json"]) == 0
    assert run(["val", "runs/a"]) == 0
    assert run(["list", "runs"]) == 0
    printed = capfd.readouterr()
    assert "\\x1b" in printed.out
    log = (here / "runs" / "a" / "train.log").read_text()
    assert "\\x1b]0;owned" in log
    assert not CONTROL.search(printed.out + printed.err + log)
    for words in (
        [f"x{ESCAPE}"], ["train", f"len{ESCAPE}et"], ["train", "--data", f"x{ESCAPE}.csv"],
        ["train", f"--{ESCAPE}", "3"], ["train", "--epochs", f"3{ESCAPE}"], ["train", "--flip", f"a\r\n{ESCAPE}b"],
        ["summary", "lenet", "--option", f"{ESCAPE}=1"],
        ["list", ESCAPE], ["predict", "runs/a", f"{ESCAPE}.png"], ["compare", ESCAPE, "lenet"],
    ):  # fmt: skip
        assert run(words) == 2
        message = capfd.readouterr().err
        assert not CONTROL.search(message)
        assert len(message.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="no pipes and devices by name")
@pytest.mark.parametrize("words", [
    "predict /dev/zero a.png", "predict pipe a.png", "predict runs/none pipe", "val pipe", "report /dev/zero",
    "train lenet --weights pipe", "train lenet --weights /dev/zero", "train lenet --data pipe.csv",
    "train lenet --data pipe.pkl", "train lenet --data zero.csv.gz", "train lenet --recipe pipe", "train pipe.py:Net",
    "show filters pipe", "show field lenet /dev/zero", "audit pipe.csv", "compare lenet lenet5 --recipe zero.yaml",
])  # fmt: skip
def test_what_never_ends_is_refused(words: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("pipe", "pipe.csv", "pipe.pkl", "pipe.py"):
        os.mkfifo(here / name)
    for name in ("zero.csv.gz", "zero.yaml"):
        (here / name).symlink_to("/dev/zero")
    Image.new("L", (8, 8)).save(here / "a.png")
    before = sorted(here.rglob("*"))
    assert run(words.split()) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("number", [1, 2, 40])
def test_a_line_longer_than_any_row_is_named(number: int, tmp_path: Path) -> None:
    rows = [f"{k % 2},1,2,3,4" for k in range(50)]
    rows[number - 1] = "1," * (3 << 20)
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=f"line {number} is too long for a row of pixels"):
        load(tmp_path / "t.csv")


RAISING = """
import sys
from torch import nn

class Mine(BaseException):
    pass

class Base(nn.Linear):
    def __init__(self, num_classes):
        raise Mine("of my own")

class Exit(nn.Linear):
    def __init__(self, num_classes):
        sys.exit(7)

class Forward(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(784, num_classes)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.training:
            {act}
        return super().forward(x.flatten(1))
"""


@pytest.mark.parametrize("act", ["sys.exit(7)", "raise Mine('of my own')", "raise KeyError('of my own')", "1 / 0"])
@pytest.mark.parametrize("name", ["Base", "Exit", "Forward"])
def test_whatever_a_network_of_ones_own_raises_is_one_line(
    act: str, name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "own.py").write_text(RAISING.replace("{act}", act))
    words = f"train own.py:{name} --data digits --train-samples 60 --epochs 1 --image-size 28"
    assert run(words.split()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "own.py" in line
    (here / "own.py").write_text("raise BaseException('of my own')")
    assert run(["summary", "own.py:Net", "--image-size", "28"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "own.py: cannot be imported: BaseException: of my own" in line


@pytest.mark.parametrize("words", [
    "compare lenet lenet5 --data digits --budget 1G --runs-dir made/deep",
    "compare lenet alexnet --data digits --image-size 28",
    "compare lenet lenet5 --data none.csv", "vary lenet --option activation=relu", "vary lenet --option kernel=99",
    "vary lenet --option activation=tanh --data none.csv --runs-dir made",
    "lr-find lenet --data none.csv --out made/a.png",
    "vary lenet --option activation=relu,tanh --search optuna --data none.csv", "lesson more-data --offline",
    "reproduce D0/lenet --offline", "train lenet --data none.csv", "train alexnet --data digits --image-size 28",
])  # fmt: skip
def test_a_refusal_leaves_nothing(
    words: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LENEXT_DATA", str(here / "cache"))
    assert run(shlex.split(words)) == 2
    assert not list(here.rglob("*"))
