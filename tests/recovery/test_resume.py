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
from lenext.data import image_files
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError, RunError
from lenext.foundation.signals import StopSignal
from lenext.reporting.epoch_bar import EpochBar
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from lenext.training import trainer
from lenext.training.epoch_plan import EpochPlan
from lenext.training.loop import events
from lenext.training.metrics import Record
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve, split_by_recipe
from lenext.training.state import Step, TrainingState
from tests.data.makers import write_table
from tests.recovery.fork_server import ForkServer
from tests.recovery.runs import RUNS, command, outcome

RECIPE = Recipe(
    epochs=3, batch_size=16, accumulate_batches=2, optimizer="muon", learning_rate=0.01, ema_decay=0.9, mixup=0.3,
    random_erasing=0.5, shift=2, checkpoint_minutes=0, threads=1,
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
    real = trainer.Trainer.batches

    def batches(self: trainer.Trainer, plan: EpochPlan, start: int) -> Iterator[Any]:
        for position, batch in real(self, plan, start):
            seen.append(f"{plan.epoch} {batch.labels.tolist()} {float(batch.images.double().sum())!r}")
            yield position, batch

    monkeypatch.setattr(trainer.Trainer, "batches", batches)
    return seen


@pytest.fixture(params=["memory", 1, 4])
def data(
    request: pytest.FixtureRequest, few: Dataset, photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dataset]:
    """Images in memory (no threads that decode), or in files, with one or four of them."""
    if request.param == "memory":
        yield split_by_recipe(few, RECIPE)
        return
    monkeypatch.setattr(folder_source, "MAX_BYTES_IN_MEMORY", 0)
    with ThreadPool(request.param) as pool:
        monkeypatch.setattr(image_files, "decoder_pool", lambda: pool)
        yield split_by_recipe(lenext.load(photos("train/up", "train/down", count=20), image_size=32), RECIPE)


def begin(data: Dataset) -> TrainingState:
    torch.manual_seed(0)
    return TrainingState.begin(Net(data.shape[0], len(data.classes)), resolve(RECIPE, data))


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
    for at, _ in enumerate(events(state, data, resolve(RECIPE, data)), 1):
        if at == stop:
            break
    return at


def test_from_every_step_twice_over(data: Dataset, tmp_path: Path, taken: list[str]) -> None:
    unbroken = begin(data)
    count = advance(unbroken, data, None)
    wanted, wanted_samples = final(unbroken), taken[:]
    steps = [event for event in events(begin(data), data, resolve(RECIPE, data)) if isinstance(event, Step)]
    assert count == len(steps) + RECIPE.epochs
    assert {step.phase for step in steps} == {"train", "validation"}
    for stop in range(1, count):
        first = begin(data)
        taken.clear()
        advance(first, data, stop)
        checkpoint.save(tmp_path / "c", first.snapshot(), epoch=first.epoch, position=first.progress.position)
        second = begin(data)
        torch.manual_seed(99)  # whatever was drawn since
        second.restore(checkpoint.load(checkpoint.list_checkpoints(tmp_path / "c")[0]))
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
def test_20_points_in_processes_of_their_own(fork_server: ForkServer, tmp_path: Path, point: int) -> None:
    name = list(RUNS)[point % 6]  # but for early stopping, which may end before three epochs
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert fork_server.run(*command(name, "a", 3), cwd=tmp_path / "a", fault=("note_samples", "samples")) == 0
    per_epoch = len((tmp_path / "a" / "samples").read_text().splitlines()) // 3
    draw = torch.Generator().manual_seed(point)
    for stop in torch.randint(1, per_epoch, (2,), generator=draw).tolist():
        verb = ("resume", "runs/a") if (tmp_path / "b" / "runs").exists() else command(name, "a", 3)
        fault = ("note_and_die", "samples", stop)
        assert fork_server.run(*verb, cwd=tmp_path / "b", fault=fault) == -9
    assert fork_server.run("resume", "runs/a", cwd=tmp_path / "b", fault=("note_samples", "samples")) == 0
    assert outcome(tmp_path / "a" / "runs" / "a") == outcome(tmp_path / "b" / "runs" / "a")
    in_order = list(dict.fromkeys((tmp_path / "b" / "samples").read_text().splitlines()))
    assert in_order == (tmp_path / "a" / "samples").read_text().splitlines()


@pytest.fixture(scope="module")
def stopped(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/a, killed after its first epoch and some."""
    folder = tmp_path_factory.mktemp("stopped")
    assert fork_server.run(*command("lenet", "a", 3), cwd=folder, fault=("die_after_save", 9)) == -9
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
    newest, before, *_ = checkpoint.list_checkpoints(run.checkpoints)
    newest.write_bytes(newest.read_bytes()[:-1])
    lenext.resume(run)
    said = capsys.readouterr().out
    assert said.count("note: ") == 1
    assert f"{newest}: the file was changed or damaged" in said
    assert "the checkpoint before it is used" in said
    assert f"after {int(before.stem[-7:])} steps" in said


def test_without_any_good_checkpoint_it_does_not_begin_again(run: Run) -> None:
    for path in checkpoint.list_checkpoints(run.checkpoints):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="all 3 checkpoints are broken; train again with"):
        resume(run)


def test_before_the_first_checkpoint_it_begins_at_the_start(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (*checkpoint.list_checkpoints(run.checkpoints), run.path / "results.csv", run.weights()):
        path.unlink(missing_ok=True)
    lenext.resume(run)
    assert "no checkpoint was made yet; it begins at the start" in capsys.readouterr().out
    assert len(run.records) == 3


@pytest.mark.parametrize(("key", "value"), [("batch_size", 16), ("seed", 1), ("optimizer", "sgd")])
def test_a_changed_recipe_is_refused(run: Run, key: str, value: object) -> None:
    path = run.path / "recipe.yaml"
    kept = yaml.safe_load(path.read_text())
    kept["recipe"][key] = value
    path.write_text(yaml.safe_dump(kept))
    with pytest.raises(RunError, match=f"recipe.yaml: {key} was .*; put it back, or train again"):
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
    for path in run.checkpoints.glob("best-*"):
        path.unlink()
    with pytest.raises(RunError, match=r"best-epoch-\d+\.safetensors: cannot be read"):
        resume(run)


def test_what_cannot_be_restored_is_an_error(run: Run) -> None:
    tree = checkpoint.load(checkpoint.list_checkpoints(run.checkpoints)[0])
    for part in ("network", "update", "records", "progress", "random"):
        lacking = tree | {"state": {key: value for key, value in tree["state"].items() if key != part}}
        checkpoint.save(run.checkpoints, lacking, epoch=90, position=1)
        with pytest.raises(RunError, match="does not match this run"):
            resume(run)
    strange = copy.deepcopy(tree)
    strange["state"]["network"]["more.weight"] = torch.zeros(2)
    checkpoint.save(run.checkpoints, strange, epoch=91, position=1)
    with pytest.raises(RunError, match="does not match this run"):
        resume(run)


def test_one_process_at_a_time(run: Run) -> None:
    with run.lock(), pytest.raises(RunError, match="another process is training in it"):
        resume(run)


def test_another_machine_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    kept = run.read_json("environment.json")
    run.write_json("environment.json", kept | {"versions": kept["versions"] | {"torch": "2.9.0"}})
    lenext.resume(run)
    said = capsys.readouterr().out
    assert "not the machine on which it began, so bits may differ: versions" in said
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
    with pytest.raises(RunError, match="its network is your own code; give --network"):
        resume(run, epochs=2, data=few)
    assert len(resume(run, epochs=2, data=few, network=f"{file}:Net").records) == 2


def test_records_of_a_stopped_run_are_all_there(run: Run) -> None:
    resume(run)
    with (run.path / "results.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert isinstance(run.records[0], Record)


def test_a_thread_that_hangs_ends_the_run_and_it_goes_on(
    fork_server: ForkServer, tmp_path: Path, photos: Callable[..., Path]
) -> None:
    """Named within the time that a file may take; the process ends, though the thread does not."""
    data = photos("train/up", "train/down", count=20)
    arguments = (
        "train", "lenet_32px", "--data", data, "--image-size", 32, "--batch-size", 8, "--epochs", 4, "--name", "a",
        "--threads", 1, "--checkpoint-minutes", 1e-9,
    )  # fmt: skip
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    assert fork_server.run(*arguments, cwd=tmp_path / "a", fault=("keep_in_files",)) == 0
    begun = time.perf_counter()
    assert fork_server.run(*arguments, cwd=tmp_path / "b", fault=("hang_reading", 150)) == 2
    assert time.perf_counter() - begun < 60
    said = (tmp_path / "b" / "err").read_text()
    assert "reading it has taken 0 s; is its disk still there?" in said
    assert said.count("\n") == 1
    assert fork_server.run("resume", "runs/a", cwd=tmp_path / "b", fault=("keep_in_files",)) == 0
    assert outcome(tmp_path / "a" / "runs" / "a") == outcome(tmp_path / "b" / "runs" / "a")


def test_a_run_whose_checkpoints_are_gone_is_not_begun_again(run: Run) -> None:
    before = (run.path / "results.csv").read_text()
    for path in checkpoint.list_checkpoints(run.checkpoints):
        path.unlink()
    with pytest.raises(RunError, match=r"its checkpoints are gone.*--weights"):
        resume(run)
    assert (run.path / "results.csv").read_text() == before


def test_damaged_checkpoints_do_not_push_out_good_ones(tmp_path: Path) -> None:
    for step in (100, 200, 300):
        checkpoint.save(tmp_path, {"at": step}, epoch=0, position=step)
    for path in checkpoint.list_checkpoints(tmp_path)[:2]:
        path.write_bytes(b"")
    lines: list[str] = []
    path, _ = checkpoint.load_newest(tmp_path, lines.append) or pytest.fail("none")
    assert path.stem.endswith("100")
    assert len(lines) == 2
    for step in (120, 140):
        checkpoint.save(tmp_path, {"at": step}, epoch=0, position=step)
    assert [one.stem[-3:] for one in checkpoint.list_checkpoints(tmp_path)] == ["140", "120", "100"]
    checkpoint.save(tmp_path, {"at": 1}, epoch=123_456, position=12_345_678)
    assert checkpoint.list_checkpoints(tmp_path)[0].stem == "epoch-123456-step-12345678"


def test_after_a_fallback_the_best_weights_are_those_of_then(few: Dataset, tmp_path: Path) -> None:
    more: dict[str, Any] = {"epochs": 6, "runs_dir": tmp_path, "quiet": True}
    run = lenext.train("lenet", few, **more)
    best = run.results["best_epoch"]
    newest = checkpoint.list_checkpoints(run.checkpoints)
    assert checkpoint.best_weights_path(run.checkpoints, best).read_bytes() == run.weights().read_bytes()
    for path in newest[:2]:
        path.write_bytes(b"")
    _, tree = checkpoint.load_newest(run.checkpoints, lambda _: None) or pytest.fail("none")
    then = tree["state"]["best"]
    kept = checkpoint.best_weights_path(run.checkpoints, then).read_bytes()
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenext.workflows.session.Session.train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        resume(run, epochs=7, data=few)
    assert run.weights().read_bytes() == kept


def test_files_may_be_elsewhere(tmp_path: Path, few: Dataset) -> None:
    """Data and a network of one's own that were moved: what is in them counts."""
    write_table(tmp_path / "t.csv", [[at % 3, *([at % 256] * 64)] for at in range(60)])
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    run = lenext.train(f"{tmp_path / 'net.py'}:Net", tmp_path / "t.csv", epochs=1, runs_dir=tmp_path, quiet=True)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("t.csv", "net.py"):
        (tmp_path / name).rename(other / name)
    text = (run.path / "recipe.yaml").read_text()
    (run.path / "recipe.yaml").write_text(text.replace(f"data: {tmp_path}/t.csv", f"data: {other}/t.csv"))
    assert len(resume(run, epochs=2, network=f"{other / 'net.py'}:Net").records) == 2
    rows = [[at % 3, *([at % 256] * 63), 7] for at in range(60)]
    write_table(other / "t.csv", rows)
    with pytest.raises(RunError, match="have changed since training stopped"):
        resume(run, epochs=3, network=f"{other / 'net.py'}:Net")


def test_a_recipe_that_names_code_runs_it_only_if_it_is_named_again(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(f"open({str(tmp_path / 'HERE')!r}, 'w')")
    (tmp_path / "r.yaml").write_text(f"network: {tmp_path / 'net.py'}:Net\n")
    with pytest.raises(ConfigurationError, match="its network is a Python file; name it too"):
        lenext.train(recipe=str(tmp_path / "r.yaml"), runs_dir=tmp_path, quiet=True)
    assert not (tmp_path / "HERE").exists()


class Counting(Net):
    """Keeps a mean that its state_dict leaves out, and needs it."""

    def __init__(self) -> None:
        super().__init__(1, 10)
        self.register_buffer("mean", torch.zeros(1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * images.detach().mean()
        return super().forward(images - self.mean)


def test_buffers_that_are_no_part_of_the_state_dict(few: Dataset, tmp_path: Path) -> None:
    def begin() -> nn.Module:
        torch.manual_seed(0)
        return Counting()

    whole = lenext.train(begin(), few, recipe=RECIPE, runs_dir=tmp_path / "a", quiet=True)
    run = lenext.train(begin(), few, recipe=RECIPE, runs_dir=tmp_path, quiet=True)
    for path in checkpoint.list_checkpoints(run.checkpoints)[:2]:
        path.unlink()
    (run.path / "results.json").unlink()
    resume(run, network=begin(), data=few)
    assert outcome(run.path) == outcome(whole.path)


def test_state_that_is_no_tensor_is_refused_before(few: Dataset, tmp_path: Path) -> None:
    class Odd(Net):
        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

    with pytest.raises(ConfigurationError, match="its _extra_state is no tensor"):
        lenext.train(Odd(1, 10), few, runs_dir=tmp_path, epochs=1, quiet=True)
    assert len(list(lenext.fit(Odd(1, 10), few, Recipe(epochs=1)))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -3}, {"epoch": 2}, {"best": 77}, {"progress": {"position": -5}}, {"progress": {"position": 1000}},
        {"progress": {"metrics": {}}}, {"records": [{"epoch": 1}]}, {"update": {"gradients": {"99": torch.zeros(1)}}},
        {"update": {"optimizers": [[]]}}, {"update": {"optimizers": "x"}}, {"network": {}}, {"random": {"torch": 3}},
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_is_refused(run: Run, change: dict[str, Any]) -> None:
    tree = checkpoint.load(checkpoint.list_checkpoints(run.checkpoints)[0])
    ((key, value),) = change.items()
    state = tree["state"]
    merged = state[key] | value if isinstance(value, dict) and value else value
    checkpoint.save(run.checkpoints, tree | {"state": state | {key: merged}}, epoch=90, position=1)
    with pytest.raises(RunError, match=r"does not match this run|the checkpoint is at"):
        resume(run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", {"epochs": "x"}), ("results.json", {"epochs": 3, "test_reads": "x"}),
        ("environment.json", {"threads": "x"}), ("environment.json", {"threads": -1}),
        ("environment.json", {"resumed": 5, "data_dir": 5, "versions": 3}),
    ],
)  # fmt: skip
def test_files_of_a_run_with_the_wrong_kinds(run: Run, name: str, content: dict[str, Any]) -> None:
    run.write_json(name, content)
    resume(run, epochs=4)
    assert len(run.records) == 4


@pytest.mark.parametrize("name", ["train.log", "checkpoints", "weights", "results.csv"])
def test_links_in_a_run_are_not_followed(run: Run, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    (run.path / name).rename(precious)
    (run.path / name).symlink_to(precious)
    (tmp_path / ".precious.tmp").touch()
    with pytest.raises(RunError, match="a link, but a run writes only into its own folder"):
        resume(run)
    assert (tmp_path / ".precious.tmp").exists()


def test_one_that_stopped_early_is_done(few: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more: dict[str, Any] = {"early_stopping": 1, "learning_rate": 0.0, "runs_dir": tmp_path, "quiet": True}
    for epochs in (2, 9):
        run = lenext.train("lenet", few, epochs=epochs, name=f"a{epochs}", **more)
        assert len(run.records) == 2
        lenext.resume(run, data=few)
        assert "it stopped early, and would at once again" in capsys.readouterr().out
        with pytest.raises(lenext.LenextError, match="it stopped early, and would at once again"):
            lenext.resume(run, epochs=40, data=few)
        assert run.test_reads == 1


def test_printing_that_fails_does_not_end_a_run(fork_server: ForkServer, run: Run, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    assert fork_server.run("resume", run.path, cwd=tmp_path, fault=("print_into", "/dev/full")) in (0, 2)
    assert run.results["epochs"] == 3


def test_dropout_in_validation_goes_on_alike(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in the middle of validation leaves the checkpoint before it as it was."""

    class Always(Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().forward(images), 0.3, training=True)

    def begin() -> nn.Module:
        torch.manual_seed(0)
        return Always(1, 10)

    whole = lenext.train(begin(), few, recipe=RECIPE, runs_dir=tmp_path / "a", quiet=True)
    real = StopSignal.__bool__
    seen: list[str] = []

    def stop(self: StopSignal) -> bool:
        return real(self) or seen.count("validation") == 1

    def noted(self: EpochBar, step: Step) -> None:
        seen.append(step.phase)

    monkeypatch.setattr(StopSignal, "__bool__", stop)
    monkeypatch.setattr(EpochBar, "show_step", noted)
    with pytest.raises(KeyboardInterrupt):
        lenext.train(begin(), few, recipe=RECIPE, runs_dir=tmp_path, quiet=True)
    monkeypatch.undo()
    run = resume(Run(tmp_path / "always-few"), network=begin(), data=few)
    assert outcome(run.path) == outcome(whole.path)
