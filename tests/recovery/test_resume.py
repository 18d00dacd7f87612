"""Going on: from every step, with every number of decoding threads, to the same samples and the same bits."""

import copy
import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import lenext
from lenext.data import folder as folder_source
from lenext.data import pictures
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError, RunError
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from lenext.training import passes
from lenext.training.loop import divided, events
from lenext.training.recipe import Recipe
from lenext.training.state import Record, Step, TrainingState
from tests.recovery.nursery import Nursery
from tests.recovery.runs import RUNS, command, outcome

RECIPE = Recipe(
    epochs=3, batch_size=16, accumulate=2, optimizer="muon", learning_rate=0.01, ema=0.9, mixup=0.3, random_erasing=0.5,
    shift=2, save_minutes=0, threads=1,
)  # fmt: skip


class Net(nn.Module):
    """Batch norm and dropout, both with states of their own."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(32, classes),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples of each step as they are trained on: from the pixels and labels themselves."""
    seen: list[str] = []
    real = passes.Passes.batches

    def batches(self: passes.Passes, epoch: int, start: int) -> Iterator[Any]:
        for images, labels in real(self, epoch, start):
            seen.append(f"{epoch} {labels.tolist()} {float(images.double().sum())!r}")
            yield images, labels

    monkeypatch.setattr(passes.Passes, "batches", batches)
    return seen


@pytest.fixture(params=["memory", 1, 4])
def data(
    request: pytest.FixtureRequest, few: Dataset, photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dataset]:
    """Pictures in memory (no threads that decode), or in files, with one or four of them."""
    if request.param == "memory":
        yield divided(few, RECIPE)
        return
    monkeypatch.setattr(folder_source, "IN_MEMORY", 0)
    with ThreadPool(request.param) as pool:
        monkeypatch.setattr(pictures, "decoders", lambda: pool)
        yield divided(lenext.load(photos("train/up", "train/down", count=20), picture_size=32), RECIPE)


def begin(data: Dataset) -> TrainingState:
    torch.manual_seed(0)
    return TrainingState.begin(Net(data.shape[0], len(data.classes)), RECIPE)


def final(state: TrainingState) -> dict[str, torch.Tensor]:
    """All the tensors there are in the end."""
    tensors: dict[str, torch.Tensor] = {}
    saved = state.snapshot()
    checkpoint.without_tensors({key: saved[key] for key in ("network", "update")}, "", tensors)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def figures(state: TrainingState) -> list[tuple[float | None, ...]]:
    return [(one.train_loss, one.val_loss, one.val_accuracy, one.learning_rate) for one in state.records]


def advance(state: TrainingState, data: Dataset, stop: int | None) -> int:
    """Train on until so many events were seen, of all kinds; how many there were."""
    at = 0
    for at, _ in enumerate(events(state, data, RECIPE), 1):
        if at == stop:
            break
    return at


def test_from_every_step_twice_over(data: Dataset, tmp_path: Path, taken: list[str]) -> None:
    unbroken = begin(data)
    count = advance(unbroken, data, None)
    wanted, wanted_samples = final(unbroken), taken[:]
    steps = [event for event in events(begin(data), data, RECIPE) if isinstance(event, Step)]
    assert count == len(steps) + RECIPE.epochs
    assert {step.phase for step in steps} == {"train", "validation"}
    for stop in range(1, count):
        first = begin(data)
        taken.clear()
        advance(first, data, stop)
        checkpoint.save(tmp_path / "c", first.snapshot(), epoch=first.epoch, position=first.underway.position)
        second = begin(data)
        torch.manual_seed(99)  # whatever was drawn since
        second.restore(checkpoint.load(checkpoint.newest_first(tmp_path / "c")[0]))
        advance(second, data, 2)
        third = begin(data)
        third.restore(copy.deepcopy(second.snapshot()))
        advance(third, data, None)
        assert taken == wanted_samples, stop
        assert figures(third) == figures(unbroken)
        found = final(third)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), stop
        shutil.rmtree(tmp_path / "c")


@pytest.mark.slow
@pytest.mark.parametrize("point", range(20))
def test_20_points_in_processes_of_their_own(nursery: Nursery, tmp_path: Path, point: int) -> None:
    name = list(RUNS)[point % 5]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert nursery.run(*command(name, "a", 3), cwd=tmp_path / "a", fault=("note_samples", "samples")) == 0
    per_epoch = len((tmp_path / "a" / "samples").read_text().splitlines()) // 3
    draw = torch.Generator().manual_seed(point)
    for stop in torch.randint(1, per_epoch, (2,), generator=draw).tolist():
        verb = ("resume", "runs/a") if (tmp_path / "b" / "runs").exists() else command(name, "a", 3)
        fault = ("note_and_die", "samples", stop)
        assert nursery.run(*verb, cwd=tmp_path / "b", fault=fault) == -9
    assert nursery.run("resume", "runs/a", cwd=tmp_path / "b", fault=("note_samples", "samples")) == 0
    assert outcome(tmp_path / "a" / "runs" / "a") == outcome(tmp_path / "b" / "runs" / "a")
    in_order = list(dict.fromkeys((tmp_path / "b" / "samples").read_text().splitlines()))
    assert in_order == (tmp_path / "a" / "samples").read_text().splitlines()


@pytest.fixture(scope="module")
def stopped(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/a, killed after its first epoch and some."""
    folder = tmp_path_factory.mktemp("stopped")
    assert nursery.run(*command("lenet", "a", 3), cwd=folder, fault=("die_after_save", 9)) == -9
    return folder


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Run:
    shutil.copytree(stopped / "runs" / "a", tmp_path / "a")
    return Run(tmp_path / "a")


def resume(run: Run, **more: Any) -> Run:
    return lenext.resume(run, quiet=True, **more)


def test_a_finished_run_has_nothing_to_do_and_more_epochs_extend_it(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    resume(run)
    files = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    lenext.resume(run)
    assert "nothing to do; its 3 epochs are done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == files
    before = run.records
    resume(run, epochs=5)
    assert [record.epoch for record in run.records] == [1, 2, 3, 4, 5]
    assert run.records[:2] == before[:2]
    assert run.results["epochs"] == run.experiment.recipe.epochs == 5
    assert run.results["test_reads"] == 2
    with pytest.raises(ConfigurationError, match=r"epochs=4: .* has 5 already"):
        resume(run, epochs=4)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    newest, before, *_ = checkpoint.newest_first(run.checkpoints)
    newest.write_bytes(newest.read_bytes()[:-1])
    lenext.resume(run)
    said = capsys.readouterr().out
    assert said.count("note: ") == 1
    assert f"{newest}: the file was changed or damaged" in said
    assert "the one before it is taken" in said
    assert f"after {int(before.stem[-7:])} steps" in said


def test_without_any_good_checkpoint_it_does_not_begin_again(run: Run) -> None:
    for path in checkpoint.newest_first(run.checkpoints):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="none of the 3 checkpoints is whole; train anew with"):
        resume(run)


def test_before_the_first_checkpoint_it_begins_at_the_start(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for path in checkpoint.newest_first(run.checkpoints):
        path.unlink()
    lenext.resume(run)
    assert "no checkpoint was made yet; it begins at the start" in capsys.readouterr().out
    assert len(run.records) == 3


@pytest.mark.parametrize(("key", "value"), [("batch_size", 16), ("seed", 1), ("optimizer", "sgd")])
def test_a_changed_recipe_is_refused(run: Run, key: str, value: object) -> None:
    path = run.path / "recipe.yaml"
    kept = yaml.safe_load(path.read_text())
    kept["recipe"][key] = value
    path.write_text(yaml.safe_dump(kept))
    with pytest.raises(RunError, match=f"recipe.yaml: {key} was .*; put it back, or train anew"):
        resume(run)


def test_changed_data_are_refused(photos: Callable[..., Path], tmp_path: Path) -> None:
    data = photos("train/up", "train/down", count=12)
    more = {"image_size": 32, "batch_size": 8, "epochs": 2, "runs_dir": tmp_path, "quiet": True}
    run = lenext.train("lenet_32px", data, **more)  # type: ignore[arg-type]
    (run.path / "results.json").unlink()
    (data / "train" / "up" / "00.png").rename(data / "train" / "up" / "zz.png")
    with pytest.raises(RunError, match="have changed since training stopped"):
        resume(run)
    shutil.rmtree(data)
    with pytest.raises(DataError, match="photos"):
        resume(run)


def test_best_weights_that_are_gone_are_an_error(run: Run) -> None:
    run.weights("best").unlink()
    with pytest.raises(RunError, match=r"best\.safetensors: cannot be read"):
        resume(run)


def test_what_cannot_be_restored_is_an_error(run: Run) -> None:
    tree = checkpoint.load(checkpoint.newest_first(run.checkpoints)[0])
    for part in ("network", "update", "records", "underway", "random"):
        lacking = tree | {"state": {key: value for key, value in tree["state"].items() if key != part}}
        checkpoint.save(run.checkpoints, lacking, epoch=90, position=1)
        with pytest.raises(RunError, match="does not fit this training"):
            resume(run)
    strange = copy.deepcopy(tree)
    strange["state"]["network"]["more.weight"] = torch.zeros(2)
    checkpoint.save(run.checkpoints, strange, epoch=91, position=1)
    with pytest.raises(RunError, match="does not fit this training"):
        resume(run)


def test_one_process_at_a_time(run: Run) -> None:
    with run.locked(), pytest.raises(RunError, match="another process is training in it"):
        resume(run)


def test_another_machine_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    kept = run.read_json("environment.json")
    run.write_json("environment.json", kept | {"versions": kept["versions"] | {"torch": "2.9.0"}})
    lenext.resume(run)
    said = capsys.readouterr().out
    assert "not the machine it was begun on, so bits may differ: versions" in said
    assert json.loads((run.path / "environment.json").read_text())["resumed"][0]["differing"]


def test_what_was_made_in_python_is_asked_for_again(few: Dataset, tmp_path: Path) -> None:
    def begin() -> nn.Module:
        torch.manual_seed(0)
        return Net(1, 10)

    whole = lenext.train(begin(), few, epochs=3, runs_dir=tmp_path / "whole", quiet=True)
    run = lenext.train(begin(), few, epochs=2, runs_dir=tmp_path, quiet=True)
    with pytest.raises(RunError, match="its network was made in Python"):
        resume(run, epochs=3)
    with pytest.raises(RunError, match="its data were made in Python"):
        resume(run, epochs=3, network=begin())
    resume(run, epochs=3, network=begin(), data=few)
    assert [one.epoch for one in run.records] == [one.epoch for one in whole.records]


def test_a_network_of_ones_own_is_named_again(tmp_path: Path, few: Dataset) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    run = lenext.train(f"{file}:Net", few, epochs=1, runs_dir=tmp_path, quiet=True)
    with pytest.raises(RunError, match="a network of your own; give --network"):
        resume(run, epochs=2, data=few)
    assert len(resume(run, epochs=2, data=few, network=f"{file}:Net").records) == 2


def test_records_of_a_stopped_run_are_all_there(run: Run) -> None:
    resume(run)
    with (run.path / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert isinstance(run.records[0], Record)


def test_a_thread_that_hangs_ends_the_run_and_it_goes_on(
    nursery: Nursery, tmp_path: Path, photos: Callable[..., Path]
) -> None:
    """Named within the time that a file may take; the process ends, though the thread does not."""
    data = photos("train/up", "train/down", count=20)
    arguments = (
        "train", "lenet_32px", "--data", data, "--image-size", 32, "--batch-size", 8, "--epochs", 4, "--name", "a",
        "--threads", 1, "--save-minutes", 1e-9,
    )  # fmt: skip
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert nursery.run(*arguments, cwd=tmp_path / "a", fault=("keep_in_files",)) == 0
    begun = time.perf_counter()
    assert nursery.run(*arguments, cwd=tmp_path / "b", fault=("hang_reading", 150)) == 2
    assert time.perf_counter() - begun < 60
    said = (tmp_path / "b" / "err").read_text()
    assert "reading it has taken 0 s; is its disk still there?" in said
    assert said.count("\n") == 1
    assert nursery.run("resume", "runs/a", cwd=tmp_path / "b", fault=("keep_in_files",)) == 0
    assert outcome(tmp_path / "a" / "runs" / "a") == outcome(tmp_path / "b" / "runs" / "a")
