"""Every command of the README and of the documentation is valid; those of the guides and tutorials run."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lenext.__main__ import main
from lenext.cli import load_verbs
from lenext.cli import run as run_command_line
from lenext.cli.app import app
from lenext.verbs import VERBS
from tests.conftest import draw_image
from tests.data.makers import write_cifar, write_idx_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("[tge]*/*.md"))]
RUN_PAGES = [path for path in PAGES if path.name == "README.md" or path.parent.name in ("tutorials", "guides")]
NOT_RUN = {
    "--pretrained": "downloads published weights",
    "--recipe speedrun": "minutes",
    "--recipe flowers": "minutes",
    "--search optuna": "minutes",
    "reproduce D": "minutes",
    "lesson batch-norm": "a minute, and each lesson has its test",
    "--install-completion": "changes the user's shell; has its test",
    "--budget": "minutes, and has its test",
    "--runtime ort": "downloads onnxruntime-web, and has its tests",
    "lenext serve": "runs until it is stopped, and has its tests",
    "lenext studio": "runs until it is stopped, and has its tests",
    "--corrections": "needs the decisions of an audit, and has its tests",
    "--int8": "needs a run on CIFAR-10, and has its test",
}
FEW_STEPS = ("train", "compare", "vary")
NET = """from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_channels: int, num_classes: int, width: int = 4) -> None:
        super().__init__(
            nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)
        )
"""


def commands(path: Path) -> Iterator[str]:
    """The lenext commands in the code blocks of a page that have no language, or a shell's."""
    language: str | None = None
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            language = line.strip("`").strip() if language is None else None
        elif language in ("", "console", "sh"):
            command = re.sub(r"\s+#.*", "", line.removeprefix("$ ").removeprefix(".venv/bin/"))
            if command.startswith("lenext ") and command != "lenext VERB" and "..." not in command:
                yield command


def cases(paths: list[Path]) -> list[Any]:
    return [
        pytest.param(command, id=f"{path.relative_to(ROOT)}: {command}")
        for path in paths
        for command in dict.fromkeys(commands(path))
    ]


@pytest.fixture(scope="module", autouse=True)
def every_verb() -> None:
    load_verbs(*VERBS)


def test_the_pages_have_commands() -> None:
    assert len(cases(PAGES)) > 40


@pytest.mark.parametrize("command", cases(PAGES))
def test_a_command_is_valid(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "..."]
    if words[0] in ("--version", "--help", "--install-completion"):
        return
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages name: photos, tables, runs, a network and published data."""
    path = tmp_path_factory.mktemp("docs")
    for folder in ("photos/up", "photos/down", "new"):
        (path / folder).mkdir(parents=True)
    for label, name in enumerate(("up", "down")):
        for number in range(15):
            draw_image(label, (48, 40), 2 * number + label).save(path / "photos" / name / f"{number}.jpg")
    draw_image(0, (48, 40), 99).save(path / "photos" / "one.jpg")
    draw_image(0, (48, 40), 98).save(path / "new" / "1.jpg")
    draw_image(0, (48, 40), 97).save(path / "photo.jpg")
    Image.linear_gradient("L").resize((28, 28)).save(path / "digit.png")
    for name in ("train", "test"):
        lines = (",".join(map(str, [k % 10, *((k * 7 + at) % 256 for at in range(784))])) for k in range(40))
        (path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (path / "net.py").write_text(NET)
    write_idx_folder(path / "data" / "MNIST" / "raw", zipped=False)
    write_cifar(path / "data" / "cifar-10-batches-py", pickled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("LENEXT_DATA", str(path / "data"))
        for name in ("lenet-digits", "lenet-digits-2", "a", "b"):
            assert run_command_line(f"train lenet --train-samples 100 --epochs 1 --name {name}".split()) == 0
        few = "--epochs 1 --steps 1 --batch-size 8"
        for name in ("photos", "other"):
            assert run_command_line(f"train resnet18_32px --data photos --name resnet18_32px-{name} {few}".split()) == 0
        assert run_command_line(["train", "net.py:Net", "--epochs", "1", "--steps", "2", "--name", "net-digits"]) == 0
        shutil.copytree("runs/resnet18_32px-photos", "runs/resnet18-photos")
        assert run_command_line(["export", "runs/lenet-digits"]) == 0
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("command", cases(RUN_PAGES))
def test_a_command_runs(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written, but for the length of the training."""
    if reason := next((reason for words, reason in NOT_RUN.items() if words in command), ""):
        pytest.skip(reason)
    monkeypatch.chdir(place)
    monkeypatch.setenv("LENEXT_DATA", str(place / "data"))

    def unreachable(*_: object) -> None:
        raise OSError("no network in a test")

    monkeypatch.setattr("lenext.foundation.download.open_https", unreachable)
    words = [
        found for word in shlex.split(command)[1:]
        for found in (sorted(map(str, place.glob(word))) if "*" in word else [word])
    ]  # fmt: skip
    if words[0] in FEW_STEPS and not any(word.startswith("runs/") and "recipe" not in word for word in words):
        words += [] if "--epochs" in words else ["--epochs", "2" if "--progressive-resizing" in words else "1"]
        words += [] if "--batch-size" in words else ["--batch-size", "8"]
        words += [] if "--progressive-resizing" in words else ["--steps", "2"]
    if words[0] == "audit" and "--no-labels" not in words:
        words += ["--epochs", "1"]
    assert main(words) == 0
