"""The command line as users see it: processes, exit codes, what is printed."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from PIL import Image

from lenext.__main__ import VERBS, main
from lenext.workflows import listing
from tests.data.makers import write_table
from tests.recovery.fork_server import ForkServer

Command = Callable[..., subprocess.CompletedProcess[str]]


def run_python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m lenext ARGUMENTS`."""
    command = [sys.executable, "-m", "lenext", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


@pytest.fixture(scope="module")
def run_forked(fork_server: ForkServer) -> Command:
    """Run `lenext ARGUMENTS` as `run_python` does, in a process that need not import anything."""

    def run(*arguments: object, cwd: Path, fault: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
        code = fork_server.run(*arguments, cwd=cwd, fault=fault)
        out, err = ((cwd / name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run in it: runs/lenet-digits."""
    path = tmp_path_factory.mktemp("cli")
    done = run_python("train", "lenet", "--data", "digits", "--epochs", 4, cwd=path)
    assert done.returncode == 0, done.stderr
    for words in (
        "61,706 parameters",
        "1,294 train, 144 validation",
        "epoch  4/4",
        "F1",
        "test accuracy",
        "runs/lenet-digits",
    ):
        assert words in done.stdout.replace("epoch 4/4", "epoch  4/4")
    return path


def test_train_leaves_a_run(place: Path) -> None:
    assert (place / "runs" / "lenet-digits" / "confusion_matrix.png").is_file()


def test_val(place: Path, run_forked: Command) -> None:
    done = run_forked("val", "runs/lenet-digits", cwd=place)
    assert done.returncode == 0
    assert "on 144 images" in done.stdout
    assert "was read 2 times" in run_forked("val", "runs/lenet-digits", "--split", "test", cwd=place).stdout


def test_predict(place: Path, run_forked: Command) -> None:
    Image.new("RGBA", (60, 40), "black").save(place / "a.png")
    predict = partial(run_forked, "predict", "runs/lenet-digits", "a.png", cwd=place)
    rows = list(csv.reader(io.StringIO(predict("--format", "csv", "--top", 2).stdout)))
    assert rows[0] == ["image", "class", "probability", "class_2", "probability_2"]
    assert rows[1][0] == "a.png"
    predictions = json.loads(predict("--format", "json").stdout)
    assert predictions[0]["classes"] == [rows[1][1]]
    assert "a.png" in predict().stdout


def test_list_runs(place: Path, run_forked: Command) -> None:
    runs = json.loads(run_forked("list", "runs", "--json", cwd=place).stdout)
    assert runs[0]["network"] == "lenet"


@pytest.mark.parametrize("what", ["models", "datasets", "recipes"])
def test_lists_as_table_and_json(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "list_models", cache(listing.list_models))  # builds every network
    assert main(["list", what]) == 0
    table = capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        assert row["name"] in table


def test_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checks", "--json"]) == 0
    assert {"torch", "threads", "devices", "mnist", "data folder"} <= set(json.loads(capsys.readouterr().out))
    assert main(["checks"]) == 0


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet5"]) == 0
    shown = capsys.readouterr().out
    assert "48,120" in shown
    assert "61,706 parameters" in shown
    assert main(["summary", "resnet18", "--json", "--channels", "1", "--classes", "3", "--image-size", "64"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output_shape"] == [3]
    assert found["input_shape"] == [1, 64, 64]
    assert main(["summary", "lenet", "--option", "activation=tanh", "--option", "pooling=average"]) == 0
    assert "AvgPool2d" in capsys.readouterr().out


@pytest.mark.usefixtures("drawn_figures")
def test_arithmetic_and_diagrams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"arithmetic --in 28 --kernel 5 --stride 3 --padding 2 --dilation 2 --out {tmp_path}/steps.png"
    assert main(words.split()) == 0
    shown = capsys.readouterr().out
    assert "output size 8" in shown
    assert "0  0o#.#.#.#" in shown
    assert (tmp_path / "steps.png").stat().st_size > 5000
    assert main(["arithmetic", "--in", "224", "--kernel", "11", "--stride", "4", "--padding", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == 55
    assert main(["diagram", "lenet", "--against", "lenet5", "--out", str(tmp_path / "two.svg")]) == 0
    assert "lenet5" in (tmp_path / "two.svg").read_text()


def test_differences_between_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "vgg11", "--against", "vgg11_bn", "--image-size", "32"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("BatchNorm2d") == 8
    assert main(["summary", "convnext_patch4", "--against", "convnext_patch4_corrected"]) == 0
    assert "norm=batch_tensor" in capsys.readouterr().out
    assert main(["summary", "lenet", "--by", "block"]) == 0
    assert main(["summary", "nin_32px", "--by", "stage", "--json"]) == 0


def test_a_table_with_its_test_table(tmp_path: Path, run_forked: Command) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = [[label, *map(int, row)] for label, row in zip(labels.tolist(), images.tolist(), strict=True)]
    write_table(tmp_path / "train.csv", rows[:1000])
    write_table(tmp_path / "test.csv", rows[1000:1200])
    arguments = ["train", "lenet", "--data", "train.csv", "--test-data", "test.csv", "--image-size", 28, "--epochs", 10]
    done = run_forked(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs" / "lenet-train" / "results.json").read_text())
    assert results["test"]["samples"] == 200
    assert results["test"]["accuracy"] > 0.8


def test_a_folder_and_a_user_defined_network(photos: Callable[..., Path], tmp_path: Path, run_forked: Command) -> None:
    root = photos("train/up", "train/down", "val/up", "val/down")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        pool = nn.AvgPool2d(image_size // 4)\n"
        "        super().__init__(pool, nn.Flatten(), nn.Linear(16 * in_channels, num_classes))\n"
    )
    done = run_forked(
        "train", "net.py:Net", "--data", root, "--image-size", 24, "--epochs", 30, "--name", "mine", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "note: photos has train and val but no test folder" in done.stdout
    words = ["predict", "runs/mine", f"{root}/val/*/*", "--network", "net.py:Net", "--format", "json"]
    found = json.loads(run_forked(*words, cwd=tmp_path).stdout)
    right = [Path(one["path"]).parent.name == one["classes"][0] for one in found]
    assert len(right) == 20
    assert sum(right) >= 18


MISTAKES = [
    ("trian", "did you mean 'train'"),
    ("list", "models, datasets, recipes or runs"),
    ("list mdels", "did you mean 'models'"),
    ("train lenett", "did you mean 'lenet'"),
    ("train --data mnits", "did you mean 'mnist'"),
    ("train --recipe quik", "did you mean 'quick'"),
    ("train --epoch 3", "Did you mean --epochs"),
    ("train --epochs three", "epochs=three: a whole number is needed"),
    ("train --optimizer sdg", 'Did you mean "sgd"'),
    ("train --option activation", "KEY=VALUE"),
    ("train --option activation=tahn", "did you mean 'tanh'"),
    ("train --option act=tanh", "did you mean 'activation'"),
    ("train --image-size 8", "the smallest size above it that works is --image-size 12"),
    ("train lenet5 --image-size 28", "--image-size 32"),
    ("train --device cuda", "device=cuda"),
    ("train --data nowhere/photos", "no such file or folder"),
    ("train --data mnist --offline --data-dir empty", "--offline"),
    ("train --data http://example.com/a.csv", "only https"),
    ("train --runs-dir file", "cannot make the folder"),
    ("train missing.py:Net", "no such file"),
    ("summary lenet --image-size 0", "at least 1"),
    ("summary lenet --image-size -3", "at least 1"),
    ("val nowhere", "no such run"),
    ("predict nowhere a.png", "no such run"),
    ("predict", "requires an argument"),
    ("predict lenet --pretrained a.png", "lenet has no published weights"),
    ("predict resnet18 --pretrained a.png --offline --data-dir nowhere", "--offline"),
    ("diagram resnet18 --block layer_1", "did you mean 'layer1'"),
    ("arithmetic --in 4 --kernel 9", "use padding=3"),
    ("--foo", "no verb"),
    ("summary resnet18 --option depths=2,2", "four stages"),
]


@pytest.mark.parametrize(("words", "reason"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    words: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if words.startswith("train --device cuda"):
        import torch

        if torch.cuda.is_available():
            words = "train --device mps"
            reason = "device=mps"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.startswith("lenext: ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("verb", [[], *[[verb] for verb in VERBS], ["list", "runs"]], ids=str)
def test_help_loads_no_torch(verb: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from lenext.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "heavy |= {'cyclopts'} & set(sys.modules) if len(sys.argv) == 2 else set();"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    command = [sys.executable, "-c", code, *verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: lenext" in done.stdout


def test_every_recipe_key_is_an_option() -> None:
    from dataclasses import fields

    from lenext.cli.training import app
    from lenext.training.recipe import Recipe

    names = {name for argument in app["train"].assemble_argument_collection() for name in argument.names}
    assert {f"--{one.name.replace('_', '-')}" for one in fields(Recipe)} <= names


def test_importing_lenext_loads_nothing_heavy() -> None:
    code = "import sys, lenext; sys.exit(bool({'torch', 'numpy', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_are_there() -> None:
    import lenext as package

    assert all(hasattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_ctrl_c_ends_with_130_and_keeps_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lenext", "train", "lenet", "--epochs", "2000"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell's background jobs ignore
    )  # fmt: skip
    results = tmp_path / "runs" / "lenet-digits" / "results.csv"
    for _ in range(600):
        if results.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "`lenext resume runs/lenet-digits` continues" in out
    assert (results.parent / "weights" / "last.safetensors").is_file()


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # nobody reads: the first flush fails
    command = [sys.executable, "-m", "lenext", "list", "recipes"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    os.close(writer)
    assert done.returncode != 0
    assert done.stderr == ""


def test_runs_at_the_same_time_have_separate_folders(fork_server: ForkServer, tmp_path: Path) -> None:
    command = ("train", "lenet", "--epochs", 1, "--runs-dir", tmp_path / "runs")
    for name in "abc":
        (tmp_path / name).mkdir()
    started = [fork_server.start(*command, cwd=tmp_path / name) for name in "abc"]
    assert [fork_server.wait(process) for process in started] == [0, 0, 0]
    logs = [path.read_text() for path in (tmp_path / "runs").glob("*/train.log")]
    assert [log.count("network ") for log in logs] == [1, 1, 1]


def test_a_terminal_that_cannot_show_a_name(photos: Callable[..., Path], tmp_path: Path, run_forked: Command) -> None:
    words = ("train", "lenet_32px", "--data", photos("犬", "猫"), "--epochs", 1)
    done = run_forked(*words, cwd=tmp_path, fault=("print_as", "cp1252"))
    assert done.returncode == 0, done.stderr
