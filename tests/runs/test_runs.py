"""Runs from Python: their files, and how they are repeated, evaluated and used for prediction."""

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support
from torch import nn

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError, LenextError, RunError
from lenext.runs.folder import COLUMNS, Run
from lenext.training.recipe import Recipe

Photos = Callable[..., Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet on the digits, four epochs."""
    return lenext.train("lenet", "digits", runs_dir=tmp_path_factory.mktemp("runs"), epochs=4, quiet=True)


def test_everything_lies_in_its_place(run: Run) -> None:
    records = run.records
    improved = [
        record.epoch for place, record in enumerate(records)
        if all(record.is_better_than(earlier) for earlier in records[:place])
    ]  # fmt: skip
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert files == {
        "recipe.yaml", "results.csv", "results.json", "predictions.csv", "results.png", "confusion_matrix.png",
        "mistakes.png", "weights/features.safetensors", "report.html", "train.log", "environment.json", "split.json",
        "weights/best.safetensors", "weights/last.safetensors", "checkpoints/.lock",
            *(f"checkpoints/epoch-{epoch:05d}-step-0000021.safetensors" for epoch in (1, 2, 3)),
            *(f"checkpoints/best-epoch-{epoch:05d}.safetensors" for epoch in improved),
    }  # fmt: skip
    assert "test accuracy" in (run.path / "train.log").read_text()


def test_results_csv(run: Run) -> None:
    with (run.path / "results.csv").open() as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    assert ",".join(COLUMNS) == "epoch,seconds,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate"
    assert len(rows) == 5
    assert [record.epoch for record in run.records] == [1, 2, 3, 4]
    assert all(0 <= record.train_accuracy <= 1 for record in run.records)


def test_results_are_those_of_the_predictions(run: Run) -> None:
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    true, predicted = [row["true"] for row in rows], [row["predicted"] for row in rows]
    results = run.results
    assert results["test"]["samples"] == len(rows) == 359
    assert results["test"]["accuracy"] == pytest.approx(np.mean(np.array(true) == np.array(predicted)))
    assert results["test"]["loss"] == pytest.approx(np.mean([float(row["loss"]) for row in rows]), abs=1e-5)
    oracle = precision_recall_fscore_support(true, predicted, labels=[str(n) for n in range(10)], zero_division=0)
    assert [row["f1"] for row in results["classes"]] == pytest.approx(oracle[2].tolist())
    assert results["test_reads"] == 1
    best = max(run.records, key=lambda record: (record.val_accuracy, -(record.val_loss or 0)))
    assert results["best_epoch"] == best.epoch


def test_the_split_is_kept_and_apart(run: Run) -> None:
    split = json.loads((run.path / "split.json").read_text())
    assert split["samples"] == {"train": 1294, "validation": 144, "test": 359}
    assert len(set(split["taken_out_of_train"]["validation"])) == 144
    assert split["classes"] == [str(number) for number in range(10)]


def test_the_same_again_gives_the_same_bits(run: Run, tmp_path: Path) -> None:
    again = lenext.train(recipe=str(run.path / "recipe.yaml"), runs_dir=tmp_path, quiet=True)
    assert again.experiment == run.experiment
    for record, repeated in zip(run.records, again.records, strict=True):
        assert [getattr(record, name) for name in COLUMNS if name != "seconds"] == [
            getattr(repeated, name) for name in COLUMNS if name != "seconds"
        ]
    first, second = (lenext.runs.weights.load(each.weights())[0] for each in (run, again))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_val_measures_the_kept_validation_and_counts_the_test_set(run: Run) -> None:
    evaluation = lenext.val(run, quiet=True)
    best = next(record for record in run.records if record.epoch == run.results["best_epoch"])
    assert evaluation.accuracy == pytest.approx(best.val_accuracy)
    assert evaluation.loss == pytest.approx(best.val_loss, abs=1e-4)
    assert run.results["test_reads"] == 1
    assert lenext.val(run.path, split="test", quiet=True).accuracy == run.results["test"]["accuracy"]
    assert run.results["test_reads"] == 2
    assert len(lenext.val(run, split="train", quiet=True).labels) == 1294


def test_predict_agrees_with_the_test_set(run: Run, digits: Dataset, tmp_path: Path) -> None:
    assert digits.test is not None
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))[:20]
    for place, row in enumerate(rows):
        pixels = digits.test.images[torch.tensor([place])][0, 0].numpy()
        Image.fromarray(pixels).save(tmp_path / f"{row['sample']:>05}.png")
    for sources in ([tmp_path], [tmp_path / "*.png"], sorted(tmp_path.iterdir())):
        predictions = {
            Path(prediction.path).stem: prediction
            for prediction in lenext.predict(run, *sources, top=3)
            if not isinstance(prediction, DataError)
        }
        assert len(predictions) == 20
        for row in rows:
            prediction = predictions[f"{row['sample']:>05}"]
            assert prediction.classes[0] == row["predicted"]
            assert prediction.probabilities[0] == pytest.approx(float(row["probability"]), abs=2e-2)
            assert len(prediction.classes) == 3
            assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)


def test_predict_takes_images_of_other_sizes_and_modes(run: Run, tmp_path: Path) -> None:
    for mode in ("RGBA", "P", "CMYK", "LA", "1"):
        Image.new("RGB", (200, 90), "gray").convert(mode).save(
            tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        )
    Image.fromarray(np.full((50, 40), 30000, np.uint16)).save(tmp_path / "deep.png")
    predictions = lenext.predict(run.weights(), tmp_path)
    assert len(predictions) == 6
    assert all(not isinstance(item, DataError) and item.classes[0] in "0123456789" for item in predictions)


def test_predict_names_broken_images(run: Run, tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"b\.png"):
        lenext.predict(run, tmp_path)
    predictions = lenext.predict(run, tmp_path, on_bad_image="skip")
    assert sorted(isinstance(prediction, DataError) for prediction in predictions) == [False, True]
    with pytest.raises(DataError, match="no such image"):
        lenext.predict(run, tmp_path / "c.png")
    with pytest.raises(ConfigurationError, match="at least 1"):
        lenext.predict(run, tmp_path, top=0)


def test_other_data_are_matched_by_class_names(run: Run, tmp_path: Path) -> None:
    for name, value in (("5", 10), ("3", 200)):
        (tmp_path / name).mkdir()
        Image.new("L", (28, 28), value).save(tmp_path / name / "x.png")
    evaluation = lenext.val(run, data=str(tmp_path), quiet=True)
    assert evaluation.labels.tolist() == [3, 5]
    (tmp_path / "5").rename(tmp_path / "five")
    with pytest.raises(DataError, match="class 'five' is not one of"):
        lenext.val(run, data=str(tmp_path), quiet=True)


def test_a_run_that_is_there_is_never_touched(run: Run) -> None:
    with pytest.raises(RunError, match="exists already"):
        lenext.train("lenet", "digits", runs_dir=run.path.parent, name=run.path.name, quiet=True)
    second = lenext.train("lenet", "digits", runs_dir=run.path.parent, epochs=1, quiet=True)
    assert second.path.name == "lenet-digits-2"


def test_twenty_images_and_a_network_of_ones_own(photos: Photos, tmp_path: Path) -> None:
    root = photos("up", "down")
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes):\n"
        "        super().__init__(nn.Conv2d(in_channels, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),\n"
        "                         nn.Linear(32, num_classes))\n"
    )
    settings = {"image_size": 32, "epochs": 15, "batch_size": 4, "quiet": True}
    run = lenext.train(f"{file}:Net", root, runs_dir=tmp_path / "runs", **settings)  # type: ignore[arg-type]
    assert run.results["test"]["accuracy"] == 1.0
    with pytest.raises(RunError, match="pass --network"):  # weights alone never have a file run
        lenext.val(run, quiet=True)
    assert lenext.val(run, network=f"{file}:Net", quiet=True).accuracy == 1.0
    predictions = lenext.predict(run, root / "up", root / "down", network=f"{file}:Net")
    assert [item.classes[0] for item in predictions if not isinstance(item, DataError)] == ["up"] * 10 + ["down"] * 10
    file.unlink()
    with pytest.raises(ConfigurationError, match="no such file for the network"):
        lenext.predict(run, root / "up", network=f"{file}:Net")


def test_options_of_a_network_of_ones_own(few: Dataset, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("WIDTH = 3\n")
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom helper import WIDTH\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes, hidden=WIDTH, bias=True):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, hidden, bias), nn.Linear(hidden, num_classes))\n"
    )
    arguments = {"runs_dir": tmp_path / "runs", "epochs": 1, "quiet": True}
    options = {"hidden": "8", "bias": "False"}
    run = lenext.train(f"{tmp_path}/net.py:Net", few, options=options, **arguments)  # type: ignore[arg-type]
    tensors, description = lenext.runs.weights.load(run.weights())
    assert tensors["1.weight"].shape == (8, 784)
    assert "1.bias" not in tensors
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    assert len(lenext.predict(run, tmp_path / "a.png", network=description.network)) == 1
    with pytest.raises(ConfigurationError, match="did you mean 'hidden'"):
        lenext.train(f"{tmp_path}/net.py:Net", few, options={"hiden": 8}, **arguments)  # type: ignore[arg-type]


def test_a_folder_with_all_three_splits(photos: Photos, tmp_path: Path) -> None:
    root = photos(*(f"{part}/{name}" for part in ("train", "val", "test") for name in ("up", "down")))
    run = lenext.train("lenet_32px", root, runs_dir=tmp_path, epochs=2, quiet=True)
    assert json.loads((run.path / "split.json").read_text())["taken_out_of_train"] == {}
    assert "validation the source's own" in (run.path / "train.log").read_text()
    for part, count in (("train", 20), ("validation", 20), ("test", 20)):
        assert len(lenext.val(run, split=part, quiet=True).labels) == count  # type: ignore[arg-type]


def test_splits_stay_apart_when_the_data_grow(photos: Photos, tmp_path: Path) -> None:
    root = photos("up", "down", count=20)
    run = lenext.train("lenet_32px", root, runs_dir=tmp_path, epochs=1, quiet=True)
    held_out = json.loads((run.path / "split.json").read_text())["taken_out_of_train"]
    before = lenext.val(run, quiet=True)
    for number in range(7):
        Image.new("RGB", (30, 30)).save(root / "up" / f"new{number}.png")
    assert torch.equal(lenext.val(run, quiet=True).losses, before.losses)
    with pytest.raises(DataError, match="its train samples have changed"):
        lenext.val(run, split="train", quiet=True)
    (root / held_out["validation"][0]).unlink()
    with pytest.raises(DataError, match="no longer in the data"):
        lenext.val(run, quiet=True)


def test_val_computes_as_the_run_did_and_takes_grey_for_colour(photos: Photos, tmp_path: Path) -> None:
    root = photos("up", "down")
    run = lenext.train("lenet_32px", root, runs_dir=tmp_path, epochs=1, precision="fp32", quiet=True)
    best = next(record for record in run.records if record.epoch == run.results["best_epoch"])
    assert lenext.val(run, quiet=True).loss == pytest.approx(best.val_loss, abs=1e-6)
    for name in ("up", "down"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        Image.new("L", (30, 30), 99).save(tmp_path / "grey" / name / "a.png")
    assert len(lenext.val(run, data=str(tmp_path / "grey"), quiet=True).labels) == 2


def test_a_loss_that_leaves_the_numbers_late(few: Dataset, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(LenextError, match=r"the parameter 1\.weight is no longer finite"):
        lenext.train(network, few, runs_dir=tmp_path, epochs=50, learning_rate=1e5, schedule="constant", momentum=0.99,
                     weight_decay=100, quiet=True)  # fmt: skip
    run = Run.open(tmp_path / "sequential-few")
    assert "stopped: the parameter 1.weight is no longer finite" in (run.path / "train.log").read_text()
    assert "the last good checkpoint is " in (run.path / "train.log").read_text()


def test_names_that_are_markup_for_somebody(tmp_path: Path, photos: Photos) -> None:
    root = photos("$\\frac$", "[red]犬🐕")
    run = lenext.train("lenet_32px", root, runs_dir=tmp_path, epochs=1, quiet=True)
    assert {row["class"] for row in run.results["classes"]} == {"$\\frac$", "[red]犬🐕"}


def test_a_module_and_a_dataset_from_python(few: Dataset, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    run = lenext.train(network, few, recipe=Recipe(epochs=2, device="cpu"), runs_dir=tmp_path, quiet=True)
    assert run.path.name == "sequential-few"
    with pytest.raises(DataError, match="made in Python"):
        lenext.val(run, network=network, quiet=True)
    assert len(lenext.val(run, data=few, network=network, quiet=True).labels) == 40
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    with pytest.raises(RunError, match="made in Python"):
        lenext.predict(run, tmp_path / "a.png")
    again = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert len(lenext.predict(run, tmp_path / "a.png", network=again)) == 1
    assert torch.equal(again[1].weight, network[1].weight)


def test_without_validation_the_last_weights_are_used(tmp_path: Path) -> None:
    run = lenext.train("lenet", runs_dir=tmp_path, epochs=2, validation_fraction=0, quiet=True)
    assert run.results["weights"] == "last"
    assert run.records[-1].val_accuracy is None
    tensors = [lenext.runs.weights.load(run.weights(which))[0] for which in ("best", "last")]
    assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def test_a_second_measure_of_the_training_images(tmp_path: Path) -> None:
    run = lenext.train("lenet", runs_dir=tmp_path, epochs=2, evaluate_training=True, quiet=True)
    assert all(record.evaluated_train_accuracy is not None for record in run.records)


def test_what_is_wrong_is_found_before_anything_is_written(tmp_path: Path) -> None:
    wrong: list[dict[str, object]] = [
        {"network": "lenett"}, {"data": "digitz"}, {"epochz": 1}, {"image_size": 8}, {"options": {"padding": "x"}},
        {"options": {"num_classes": 3}}, {"options": {"image_size": 3}}, {"device": "tpu"}, {"recipe": "none"},
        {"test_fraction": 0.5}, {"data": tmp_path / "missing.csv"}, {"resize": "pad", "image_size": 20},
        {"batch_size": 1, "network": "lenet5_skip"}, {"on_bad_image": "bogus"}, {"data": "x" * 300},
        {"data": "~nobody/x"},
        {"network": "resnet18_32px", "options": {"depths": "2,2"}}, {"options": {"widths": "-1,2,3,4"}},
    ]  # fmt: skip
    for settings in wrong:
        with pytest.raises(LenextError) as caught:
            lenext.train(runs_dir=tmp_path / "runs", quiet=True, **settings)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_keeps_the_weights_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lenext.reporting.epoch_bar import EpochBar

    def interrupt(bar: EpochBar, record: object, best: bool) -> None:
        if bar.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(EpochBar, "show_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lenext.train("lenet", runs_dir=tmp_path, epochs=30, quiet=True)
    run = Run.open(tmp_path / "lenet-digits")
    assert len(run.records) == 2
    assert run.results == {}
    assert lenext.val(run, weights="last", quiet=True).accuracy == pytest.approx(run.records[-1].val_accuracy)


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        Run.open(tmp_path / "missing")
    with pytest.raises(RunError, match="not a run"):
        Run.open(tmp_path)
