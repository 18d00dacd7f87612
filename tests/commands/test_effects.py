"""Each option of each verb changes the outcome of a command or is refused with exit code 2.

An option that is added to the command line fails here until it has a row that shows its effect.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lenext.cli import run as run_command
from tests.commands.options import SERVING, commands
from tests.data.makers import write_cifar, write_idx_folder, write_table

pytestmark = pytest.mark.usefixtures("drawn_figures")

OWN = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""
TRAIN = "train lenet --data digits --train-samples 60 --epochs 1 --batch-size 16 --runs-dir made"
RACE = "compare lenet lenet5 --data digits --seeds 1 --train-samples 60 --epochs 1 --batch-size 16 --runs-dir made"
VARY = "vary lenet --option activation=tanh --data digits --train-samples 60 --epochs 1 --batch-size 16 --runs-dir made"
SEEK = VARY.replace("activation=tanh", "activation=relu,tanh") + " --search optuna --trials 1"
RATES = "lr-find lenet --data digits --train-samples 60 --batch-size 16"
MNIST = "--data mnist --data-dir data"
LESSON = "lesson softmax-before-the-loss --epochs 1 --runs-dir made"
BLIND = "export runs/a --unverified --out net.onnx"
EXPLORE = "explore runs/a --out p.html"
REPRODUCE = "reproduce D3/convnext --scale 0.5 --epochs 1 --offline --data-dir data --runs-dir made"


@dataclass(frozen=True)
class Case:
    """A command without an option, the option to add to it, and the part of the command that it replaces, if any."""

    base: str
    given: str
    replaces: str = ""


def case(base: str, given: str, replaces: str = "") -> Case:
    return Case(base, given, replaces)


CASES: dict[tuple[str, str], list[Case]] = {
    **{("train", option): [one] for option, one in {
        "--data": case("train lenet --train-samples 60 --epochs 1 --runs-dir made", "--data t.csv"),
        "--recipe": case("train lenet --train-samples 60 --runs-dir made --epochs 1", "--recipe quick", "--epochs 1"),
        "--name": case(TRAIN, "--name mine"),
        "--runs-dir": case(TRAIN, "--runs-dir other", "--runs-dir made"),
        "--option": case(TRAIN, "--option activation=tanh"),
        "--pretrained": case(TRAIN, "--pretrained"),
        "--freeze": case(TRAIN, "--freeze conv1"),
        "--test-data": case(TRAIN.replace("digits", "t.csv").replace("60", "20"), "--test-data u.csv"),
        "--data-dir": case("train lenet --data mnist --offline --epochs 1 --runs-dir made", "--data-dir data"),
        "--offline": case("train lenet --data mnist --data-dir empty --epochs 1 --runs-dir made", "--offline"),
    }.items()},
    ("train", "--weights"): [case(TRAIN, "--weights runs/a/weights/best.safetensors"),
                             case(f"{TRAIN} --pretrained", "--weights runs/a/weights/best.safetensors")],
    ("train", "--label-column"): [case(TRAIN.replace("digits", "t.csv").replace("60", "20"), "--label-column 64"),
                                  case(TRAIN, "--label-column 0")],
    ("train", "--corrections"): [case(TRAIN.replace("digits", "t.csv").replace("60", "20"), "--corrections c.csv"),
                                 case(TRAIN, "--corrections c.csv")],
    ("train", "--dry-run"): [case(TRAIN, "--dry-run")],
    ("train", "--json"): [case(f"{TRAIN} --dry-run", "--json"), case(TRAIN, "--json")],
    ("train", "--on-bad-image"): [case("train lenet --data bad --epochs 1 --runs-dir made", "--on-bad-image skip"),
                                  case(TRAIN, "--on-bad-image skip")],
    ("train", "--processes"): [case(f"{TRAIN} --dry-run", "--processes 2"), case(TRAIN, "--processes 0")],
    ("resume", "--processes"): [case("resume runs/a", "--processes 0")],
    ("resume", "--epochs"): [case("resume runs/a", "--epochs 2"), case("resume runs/a", "--epochs 1")],
    ("resume", "--network"): [case("resume runs/a", "--network own.py:Net"), case("resume runs/a", "--network lenet"),
                              case("resume runs/own", "--network own.py:Net")],
    ("resume", "--data-dir"): [case("resume runs/m --epochs 2 --offline", "--data-dir data"),
                               case("resume runs/m", "--data-dir data")],
    ("resume", "--offline"): [case("resume runs/m --epochs 2 --data-dir empty", "--offline"),
                              case("resume runs/m", "--offline")],
    **{("lr-find", option): [one] for option, one in {
        "--data": case("lr-find lenet --train-samples 20", "--data t.csv"),
        "--recipe": case(RATES, "--recipe adamw"),
        "--option": case(RATES, "--option activation=tanh"),
        "--label-column": case(RATES.replace("digits", "t.csv").replace("60", "20"), "--label-column 64"),
        "--out": case(RATES, "--out other.png"),
        "--data-dir": case("lr-find lenet --data mnist --offline", "--data-dir data"),
        "--offline": case("lr-find lenet --data mnist --data-dir empty", "--offline"),
    }.items()},
    ("report", "--network"): [case("report runs/a", "--network own.py:Net"),
                              case("report runs/own", "--network own.py:Net")],
    ("report", "--data-dir"): [case("report runs/m --offline", "--data-dir data")],
    ("report", "--offline"): [case("report runs/m --data-dir empty", "--offline")],
    ("explain", "--layer"): [case("explain runs/a a.png", "--layer conv1")],
    ("explain", "--network"): [case("explain runs/a a.png", "--network own.py:Net"),
                               case("explain runs/own a.png", "--network own.py:Net")],
    ("explain", "--out"): [case("explain runs/a a.png", "--out other.png")],
    ("show data", "--per-class"): [case("show data t.csv", "--per-class 2")],
    ("show data", "--augmented"): [case("show data t.csv", "--augmented lenet")],
    ("show data", "--data-dir"): [case("show data mnist --offline", "--data-dir data")],
    ("show data", "--offline"): [case("show data mnist --data-dir empty", "--offline")],
    ("show data", "--out"): [case("show data t.csv", "--out other.png")],
    ("show channels", "--sample"): [case("show channels t.csv", "--sample 3"),
                                    case("show channels a.png", "--sample 0")],
    ("show channels", "--crop"): [case("show channels a.png", "--crop 0,0,4,4")],
    ("show channels", "--size"): [case("show channels a.png", "--size 32"), case("show channels t.csv", "--size 224")],
    ("show channels", "--data-dir"): [case("show channels mnist --offline", "--data-dir data")],
    ("show channels", "--offline"): [case("show channels mnist --data-dir empty", "--offline")],
    ("show channels", "--out"): [case("show channels a.png", "--out other.png")],
    ("show filters", "--run"): [case("show filters a.png", "--run runs/a")],
    ("show filters", "--size"): [case("show filters a.png", "--size 32")],
    ("show filters", "--network"): [case("show filters a.png", "--network own.py:Net"),
                                    case("show filters a.png --run runs/own", "--network own.py:Net"),
                                    case("show filters a.png --run runs/a", "--network own.py:Net")],
    ("show filters", "--out"): [case("show filters a.png", "--out other.png")],
    ("show kernels", "--network"): [case("show kernels runs/own", "--network own.py:Net"),
                                    case("show kernels runs/a", "--network own.py:Net")],
    ("show kernels", "--out"): [case("show kernels runs/a", "--out other.png")],
    ("show features", "--layer"): [case("show features runs/a a.png", "--layer conv1")],
    ("show features", "--network"): [case("show features runs/own a.png", "--network own.py:Net"),
                                     case("show features runs/a a.png", "--network own.py:Net")],
    ("show features", "--out"): [case("show features runs/a a.png", "--out other.png")],
    ("show confusion", "--normalized"): [case("show confusion runs/a", "--normalized")],
    ("show confusion", "--out"): [case("show confusion runs/a", "--out other.png")],
    ("show classes", "--out"): [case("show classes runs/a", "--out other.png")],
    ("show reliability", "--out"): [case("show reliability runs/a", "--out other.png")],
    ("show curves", "--out"): [case("show curves runs/a", "--out other.png")],
    ("show embedding", "--method"): [case("show embedding runs/t", "--method tsne")],
    ("show embedding", "--network"): [case("show embedding runs/own", "--network own.py:Net"),
                                      case("show embedding runs/t", "--network own.py:Net")],
    ("show embedding", "--data-dir"): [case("show embedding runs/m --offline", "--data-dir data")],
    ("show embedding", "--offline"): [case("show embedding runs/m --data-dir empty", "--offline")],
    ("show embedding", "--out"): [case("show embedding runs/t", "--out other.png")],
    ("show field", "--image-size"): [case("show field lenet a.png", "--image-size 40")],
    ("show field", "--out"): [case("show field lenet a.png", "--out other.png")],
    ("audit", "--out"): [case("audit t.csv --epochs 1", "--out other")],
    ("audit", "--labels"): [case("audit t.csv", "--no-labels")],
    ("audit", "--suspect"): [case("audit u.csv --epochs 1", "--suspect precise"),
                             case("audit t.csv --no-labels", "--suspect precise")],
    ("audit", "--network"): [case("audit t.csv --epochs 4", "--network nin_32px"),
                             case("audit t.csv --no-labels", "--network lenet_32px")],
    ("audit", "--epochs"): [case("audit t.csv", "--epochs 1"), case("audit t.csv --no-labels", "--epochs 12")],
    ("audit", "--data-dir"): [case("audit mnist --offline --epochs 1", "--data-dir data")],
    ("audit", "--offline"): [case("audit mnist --data-dir empty --epochs 1", "--offline")],
    ("audit", "--json"): [case("audit t.csv --epochs 1", "--json")],
    **{("compare", option): [one] for option, one in {
        "--data": case(RACE, "--data t.csv --train-samples 20", "--data digits --seeds 1 --train-samples 60"),
        "--seeds": case(RACE, "--seeds 2", "--seeds 1"),
        "--budget": case(RACE, "--budget 1G", "--epochs 1"),
        "--recipe": case(RACE, "--recipe adamw"),
        "--name": case(RACE, "--name mine"),
        "--runs-dir": case(RACE, "--runs-dir other", "--runs-dir made"),
        "--label-column": case(RACE.replace("digits", "t.csv").replace("60", "20"), "--label-column 64"),
        "--data-dir": case(RACE.replace("digits", "mnist").replace("60", "15") + " --offline", "--data-dir data"),
        "--offline": case(RACE.replace("digits", "mnist") + " --data-dir empty", "--offline"),
    }.items()},
    **{("vary", option): [one] for option, one in {
        "--option": case(VARY, "--option activation=sigmoid", "--option activation=tanh"),
        "--data": case(VARY, "--data t.csv --train-samples 20", "--data digits --train-samples 60"),
        "--search": case(f"{VARY} --option pooling=average", "--search one"),
        "--recipe": case(VARY, "--recipe adamw"),
        "--name": case(VARY, "--name mine"),
        "--runs-dir": case(VARY, "--runs-dir other", "--runs-dir made"),
        "--label-column": case(VARY.replace("digits", "t.csv").replace("60", "20"), "--label-column 64"),
        "--data-dir": case(VARY.replace("digits", "mnist").replace("60", "15") + " --offline", "--data-dir data"),
        "--offline": case(VARY.replace("digits", "mnist") + " --data-dir empty", "--offline"),
    }.items()},
    ("compare", "--out"): [case("compare runs/a runs/t", "--out other.html"), case(RACE, "--out other.html")],
    ("vary", "--seeds"): [case(VARY, "--seeds 2"), case(SEEK, "--seeds 7")],
    ("vary", "--trials"): [case(SEEK, "--trials 2", "--trials 1"), case(VARY, "--trials 0"), case(VARY, "--trials 20")],
    ("vary", "--database"): [case(SEEK, "--database sqlite:///other.db"), case(VARY, "--database sqlite:///other.db")],
    ("lesson", "--name"): [case(LESSON, "--name mine"), case("lesson", "--name mine")],
    ("lesson", "--runs-dir"): [case(LESSON, "--runs-dir other", "--runs-dir made"), case("lesson", "--runs-dir other")],
    ("lesson", "--epochs"): [case(LESSON, "--epochs 2", "--epochs 1"), case("lesson", "--epochs 0")],
    ("lesson", "--threads"): [case(LESSON, "--threads 2"), case("lesson", "--threads 2")],
    ("lesson", "--data-dir"): [case("lesson", "--data-dir data"),
                               case("lesson more-data --offline", "--data-dir data")],
    ("lesson", "--offline"): [case("lesson", "--offline"), case("lesson more-data --data-dir empty", "--offline")],
    ("reproduce", "--better"): [case(REPRODUCE, "--better"), case("reproduce", "--better")],
    ("reproduce", "--scale"): [case(REPRODUCE, "--scale 0.75", "--scale 0.5"), case("reproduce", "--scale 0.5")],
    ("reproduce", "--seeds"): [case(REPRODUCE, "--seeds 2"), case("reproduce", "--seeds 0")],
    ("reproduce", "--name"): [case(REPRODUCE, "--name mine"), case("reproduce", "--name mine")],
    ("reproduce", "--runs-dir"): [case(REPRODUCE, "--runs-dir other", "--runs-dir made"),
                                  case("reproduce", "--runs-dir other")],
    ("reproduce", "--threads"): [case(REPRODUCE, "--threads 2"), case("reproduce", "--threads 2")],
    ("reproduce", "--epochs"): [case(REPRODUCE, "--epochs 2", "--epochs 1"), case("reproduce", "--epochs 1")],
    ("reproduce", "--data-dir"): [case("reproduce D0/lenet --offline", "--data-dir data"),
                                  case("reproduce", "--data-dir data")],
    ("reproduce", "--offline"): [case("reproduce D0/lenet --data-dir empty", "--offline"),
                                 case("reproduce", "--offline")],
    ("val", "--split"): [case("val runs/a", "--split train"), case("val runs/t --data u.csv", "--split test")],
    ("val", "--data"): [case("val runs/t", "--data u.csv")],
    ("val", "--weights"): [case("val runs/two", "--weights last")],
    ("val", "--network"): [case("val runs/own", "--network own.py:Net"), case("val runs/a", "--network lenet")],
    ("val", "--device"): [case("val runs/a", "--device cuda")],
    ("val", "--precision"): [case("val runs/a", "--precision fp16")],
    ("val", "--engine"): [case("val runs/a", "--engine onnxruntime"),
                          case("val runs/a --precision fp32", "--engine openvino")],
    ("val", "--data-dir"): [case("val runs/m --offline", "--data-dir data")],
    ("val", "--offline"): [case("val runs/m --data-dir empty", "--offline")],
    ("predict", "--pretrained"): [case("predict resnet18 a.png --offline --data-dir empty", "--pretrained")],
    ("predict", "--top"): [case("predict runs/a a.png", "--top 3")],
    ("predict", "--invert"): [case("predict runs/a a.png --format csv", "--invert yes")],
    ("predict", "--fit"): [case("predict runs/a a.png", "--fit stretch")],
    ("predict", "--digit"): [case("predict runs/a a.png", "--digit")],
    ("predict", "--format"): [case("predict runs/a a.png", "--format json")],
    ("predict", "--on-bad-image"): [case("predict runs/a bad", "--on-bad-image skip")],
    ("predict", "--weights"): [case("predict runs/two a.png --format csv", "--weights last"),
                               case("predict runs/a/weights/best.safetensors a.png", "--weights last"),
                               case("predict resnet18 a.png --pretrained --offline", "--weights last")],
    ("predict", "--network"): [case("predict runs/own a.png", "--network own.py:Net"),
                               case("predict runs/a a.png", "--network lenet"),
                               case("predict resnet18 a.png --pretrained --offline", "--network own.py:Net")],
    ("predict", "--device"): [case("predict runs/a a.png", "--device cuda")],
    ("predict", "--precision"): [case("predict runs/a a.png", "--precision fp16")],
    ("predict", "--engine"): [case("predict runs/a a.png", "--engine onnxruntime"),
                              case("predict runs/a a.png --precision fp32", "--engine openvino")],
    ("explore", "--against"): [case(EXPLORE, "--against runs/two"), case(EXPLORE, "--against runs/own")],
    ("explore", "--out"): [case(EXPLORE, "--out q.html", "--out p.html")],
    ("explore", "--weights"): [case(EXPLORE.replace("runs/a", "runs/two"), "--weights last"),
                               case(EXPLORE.replace("runs/a", "runs/a/weights/best.safetensors"), "--weights last")],
    ("explore", "--network"): [case(EXPLORE.replace("runs/a", "runs/own"), "--network own.py:Net"),
                               case(EXPLORE.replace("runs/a", "lenet"), "--network own.py:Net"),
                               case(f"{EXPLORE} --against runs/two", "--network own.py:Net")],
    ("explore", "--pretrained"): [case(EXPLORE, "--pretrained")],
    ("explore", "--stored-as"): [case(EXPLORE, "--stored-as int8")],
    ("explore", "--runtime"): [case(EXPLORE, "--runtime ort")],
    ("explore", "--data-dir"): [case("explore runs/m --offline --out p.html", "--data-dir data"),
                                case(EXPLORE.replace("runs/a", "lenet"), "--data-dir data")],
    ("explore", "--offline"): [case("explore runs/m --data-dir empty --out p.html", "--offline"),
                               case(EXPLORE.replace("runs/a", "lenet"), "--offline")],
    ("export", "--out"): [case(BLIND, "--out new/net.onnx", "--out net.onnx")],
    ("export", "--format"): [case(BLIND, "--format pt2")],
    ("export", "--for"): [case("export runs/a --out served", "--for triton")],
    ("export", "--network-only"): [case(BLIND, "--network-only")],
    ("export", "--int8"): [case(BLIND, "--int8")],
    ("export", "--weights"): [case(f"{BLIND.replace('runs/a', 'runs/two')}", "--weights last"),
                              case(BLIND.replace("runs/a", "runs/a/weights/best.safetensors"), "--weights last")],
    ("export", "--network"): [case(BLIND, "--network lenet"),
                              case(BLIND.replace("runs/a", "runs/own"), "--network own.py:Net")],
    ("export", "--pretrained"): [case(BLIND, "--pretrained")],
    ("export", "--verify-with"): [case(BLIND, "--verify-with photos")],
    ("export", "--unverified"): [case("export runs/a --out net.onnx", "--unverified")],
    ("export", "--licence"): [case(BLIND, "--licence MIT")],
    ("export", "--data-dir"): [case("export runs/m --offline --out net.onnx", "--data-dir data")],
    ("export", "--offline"): [case("export runs/m --data-dir empty --out net.onnx", "--offline")],
    ("check-export", "--engine"): [case("check-export exported/a.onnx", "--engine openvino")],
    ("predict", "--data-dir"): [case("predict resnet18 a.png --pretrained --offline --data-dir empty",
                                     "--data-dir data", "--data-dir empty")],
    ("predict", "--offline"): [case("predict resnet18 a.png --pretrained --data-dir empty", "--offline")],
    ("summary", "--by"): [case("summary lenet", "--by stage"), case("summary lenet --json", "--by stage"),
                          case("summary nin_32px --json", "--by block"),
                          case("summary lenet --against lenet5", "--by layer"),
                          case("summary lenet --against lenet5 --json", "--by stage")],
    ("summary", "--against"): [case("summary lenet", "--against lenet5")],
    ("summary", "--image-size"): [case("summary lenet", "--image-size 40")],
    ("summary", "--channels"): [case("summary lenet", "--channels 3")],
    ("summary", "--classes"): [case("summary lenet", "--classes 3")],
    ("summary", "--option"): [case("summary lenet", "--option activation=tanh"),
                              case("summary lenet --against lenet5", "--option activation=tanh"),
                              case("summary lenet --against lenet5 --json", "--option norm=image")],
    ("summary", "--json"): [case("summary lenet", "--json"), case("summary lenet --against lenet5", "--json")],
    ("diagram", "--against"): [case("diagram lenet", "--against lenet5")],
    ("diagram", "--block"): [case("diagram resnet18 --image-size 64", "--block layer1.0")],
    ("diagram", "--image-size"): [case("diagram lenet", "--image-size 40")],
    ("diagram", "--channels"): [case("diagram lenet", "--channels 3")],
    ("diagram", "--option"): [case("diagram lenet", "--option pooling=average")],
    ("diagram", "--by"): [case("diagram lenet", "--by layer")],
    ("diagram", "--direction"): [case("diagram lenet", "--direction landscape")],
    ("diagram", "--shape"): [case("diagram lenet", "--shape volumes")],
    ("diagram", "--out"): [case("diagram lenet", "--out other.svg")],
    ("arithmetic", "--in"): [case("arithmetic --in 8 --kernel 3", "--in 9", "--in 8")],
    ("arithmetic", "--kernel"): [case("arithmetic --in 8 --kernel 3", "--kernel 2", "--kernel 3")],
    ("arithmetic", "--stride"): [case("arithmetic --in 8 --kernel 3", "--stride 2")],
    ("arithmetic", "--padding"): [case("arithmetic --in 8 --kernel 3", "--padding 1")],
    ("arithmetic", "--dilation"): [case("arithmetic --in 8 --kernel 3", "--dilation 2")],
    ("arithmetic", "--out"): [case("arithmetic --in 8 --kernel 3", "--out other.png")],
    ("arithmetic", "--json"): [case("arithmetic --in 8 --kernel 3", "--json")],
    **{(f"list {what}", "--json"): [case(f"list {what}", "--json")]
       for what in ("models", "datasets", "recipes", "runs")},
    ("list datasets", "--data-dir"): [case("list datasets", "--data-dir data")],
    ("list runs", "--runs-dir"): [case("list runs", "--runs-dir empty")],
    ("checks", "--data-dir"): [case("checks", "--data-dir data")],
    ("checks", "--json"): [case("checks", "--json")],
}  # fmt: skip
"""For each verb and option the commands that show its effect, or its refusal where it can have none."""

KEYS_APART = ("train", "lr-find", "compare", "vary")
"""Verbs that take the keys of a recipe, which tests.commands.test_keys has."""


def key_options() -> set[str]:
    from dataclasses import fields

    from lenext.training.recipe import Recipe

    return {f"--{one.name.replace('_', '-')}" for one in fields(Recipe)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few runs, tables, images, a network and published data."""
    path = tmp_path_factory.mktemp("effects")
    for number, name in enumerate(("t", "u")):
        rows = [[k % 2, *(((k + number) * 7 + at * (3 + k % 2)) % 256 for at in range(63)), k % 2] for k in range(40)]
        write_table(path / f"{name}.csv", rows)
    (path / "own.py").write_text(OWN)
    (path / "c.csv").write_text("split,sample,decision,label\ntrain,0,relabel,1\ntrain,3,drop,\n")
    (path / "empty").mkdir()
    write_idx_folder(path / "data" / "MNIST" / "raw", zipped=False)
    write_cifar(path / "data" / "cifar-10-batches-py", pickled=True)
    gradient = Image.linear_gradient("L")
    gradient.resize((40, 60)).save(path / "a.png")
    for label in ("x", "y"):
        folder = path / "bad" / label
        folder.mkdir(parents=True)
        for number in range(12):
            gradient.rotate(90 * number + (label == "y") * 7).resize((32, 32)).save(folder / f"{number}.png")
    (path / "bad" / "x" / "0.png").write_bytes(b"not an image")
    shutil.copytree(path / "bad", path / "photos")
    (path / "photos" / "x" / "0.png").unlink()
    before = Path.cwd()
    os.chdir(path)
    try:
        for words in (
            "train lenet --data digits --train-samples 60 --epochs 1 --name a",
            "train lenet --data t.csv --epochs 1 --name t",
            "train lenet --data digits --train-samples 200 --epochs 3 --learning-rate 0.02 --name two",
            "train own.py:Net --data t.csv --epochs 1 --name own",
            "train lenet --data mnist --data-dir data --offline --epochs 1 --name m",
        ):
            assert run_command(words.split()) == 0
        assert run_command(["export", "runs/a", "--out", "exported/a.onnx"]) == 0
    finally:
        os.chdir(before)
    shutil.copy(path / "runs" / "a" / "weights" / "best.safetensors", path / "runs" / "two" / "weights")
    environment = path / "runs" / "m" / "environment.json"  # as if it had been trained elsewhere
    environment.write_text(re.sub(r'"data_dir": "[^"]*"', '"data_dir": "/nowhere"', environment.read_text()))
    return path


TIMED = ("race.csv", "vary.csv", "search.csv", "lesson.csv", "results.png")
TIMES = re.compile(r"\d[\d.,]*\s*(ms|s|min|h)\b( \d+ s)?|until \d\d:\d\d")


def outcome(words: str, place: Path, at: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, ...]:
    """Run a command in a copy of `place`; return exit code, output and changed files, without times."""
    shutil.copytree(place, at)
    before = Path.cwd()
    os.chdir(at)
    try:
        code = run_command(words.split())
    finally:
        os.chdir(before)
    printed = capsys.readouterr()
    lines = [TIMES.sub("T", line) for line in printed.out.splitlines() if not line.startswith(("time ", "device "))]
    return code, "\n".join(lines), TIMES.sub("T", printed.err), sorted(files(at, place))


def files(at: Path, place: Path) -> list[tuple[str, str]]:
    """Return names and hashes of the new and changed files, without times."""
    found = []
    for path in (path for path in at.rglob("*") if path.is_file()):
        name = str(path.relative_to(at))
        content = path.read_bytes()
        if (place / name).is_file() and (place / name).read_bytes() == content:
            continue
        if path.name == "results.csv":
            content = re.sub(rb"(?m)^(\d+),[\d.]+,", rb"\1,", content)
        untimed = path.suffix in (".csv", ".safetensors", ".png", ".svg", ".md") and path.name not in TIMED
        untimed &= "checkpoints" not in path.parts
        if path.name == "environment.json":
            content, untimed = str(re.findall(rb'"threads": \d+', content)).encode(), True
        if path.name == "report.html" and "made" not in path.parts:
            content, untimed = TIMES.sub("T", content.decode()).encode(), True
        found.append((name, hashlib.sha256(content).hexdigest() if untimed else ""))
    return found


def test_every_option_has_a_case() -> None:
    keys = key_options()
    known = {
        (" ".join(words), option.name) for words, options in commands().items() for option in options
        if not option.positional and words[0] not in SERVING and not (words[0] in KEYS_APART and option.name in keys)
    }  # fmt: skip
    assert known == set(CASES)


ALL = [
    pytest.param(verb, option, one, id=f"{one.base} {one.given}")
    for (verb, option), some in CASES.items()
    for one in some
]


@pytest.fixture(scope="module")
def base_outcomes() -> dict[str, tuple[Any, ...]]:
    """Outcomes by command, as many cases have the same command without the option."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "option", "one"), ALL)
def test_an_option_has_an_effect_or_is_refused(
    verb: str, option: str, one: Case, place: Path, base_outcomes: dict[str, tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    work = place.with_name(f"{place.name}-work")  # the same place for both, as some names are printed in full

    def unreachable(*_: object) -> Callable[..., Any]:
        raise OSError("no network in a test")

    monkeypatch.setattr("lenext.foundation.download.open_https", unreachable)

    def run(words: str) -> tuple[Any, ...]:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        return outcome(words, place, work / "here", capsys)

    monkeypatch.setenv("LENEXT_DATA", str(work / "cache"))
    assert one.base.startswith(verb)
    assert option in one.given.replace("--no-", "--")
    assert not one.replaces or one.replaces in one.base
    given = one.base.replace(one.replaces, one.given) if one.replaces else f"{one.base} {one.given}"
    if one.base not in base_outcomes:
        base_outcomes[one.base] = run(one.base)
    with_it = run(given)
    assert with_it[0] in (0, 2)
    assert with_it != base_outcomes[one.base], f"{given}: the same outcome without the option"
