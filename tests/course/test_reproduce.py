"""The documents' results: each row can be run, and what is printed beside it is measured."""

import csv
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

import lenext
from lenext.course import lessons, reproduce
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.models import FAMILIES, MODELS, create
from lenext.runs.folder import Run
from lenext.training.published import PUBLISHED
from lenext.training.recipe import Recipe
from lenext.training.settings import resolve, split_by_recipe
from tests.data.makers import write_idx_folder

QUICK_LESSONS = ("batch-norm", "softmax-before-the-loss")


def test_the_figures_are_those_of_the_documents() -> None:
    """Against the documents in other words: lengths, bests, D3's divisor, epochs at chance."""
    assert [round(entry * 10112 / 10000, 2) for entry in PUBLISHED["D3/convnext"].held_out] == [
        45.86,
        53.35,
        56.62,
        57.72,
        60.40,
    ]
    for name, entry in PUBLISHED.items():
        if entry.held_out:
            epochs = reproduce.published_epochs(entry)
            assert len(entry.held_out) == len(entry.training) == epochs, name
            assert entry.held_out[-1] == entry.figure
    assert {name: entry.best for name, entry in PUBLISHED.items() if entry.figure} == {
        "D0/lenet": 93.0, "D3/convnext": 59.73, "D4/alexnet": 77.68, "D4/vgg11": 54.62, "D4/vgg11_quarter": 49.49,
        "D4/nin": 54.58, "D4/nin-mnist": 98.66, "D4/googlenet": 68.63, "D4/resnet18": 81.63, "D4/densenet": 75.19,
    }  # fmt: skip
    assert PUBLISHED["D4/nin-mnist"].held_out[4] == 26.22


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_has_an_experiment(name: str) -> None:
    entry = PUBLISHED[name]
    taught, better = (reproduce.published_experiment(entry, how) for how in (False, True))
    assert MODELS[taught.network] == MODELS[better.network] or {taught.network, better.network} <= set(
        FAMILIES[MODELS[better.network]]
    )
    assert better.recipe.epochs <= taught.recipe.epochs
    assert not better.recipe.select_on_test
    assert better.data == taught.data
    recipe = taught.recipe
    assert (recipe.select_on_test, recipe.validation_fraction) == ((False, 0.2) if name[:2] == "D3" else (True, 0.0))
    for key in ("shift", "label_smoothing", "gradient_clip", "color_jitter"):
        assert getattr(recipe, key) == 0, key
    assert (recipe.flip, recipe.random_crop, recipe.schedule, recipe.warmup_epochs) == (False, 1.0, "constant", 0.0)
    rates = {"D0": 1e-3, "D1": 0.01, "D3": 1e-3, "D4": 0.05 if "resnet" in name else 0.1}
    assert recipe.learning_rate == rates[name[:2]]
    assert {"D0": 64, "D1": 256, "D3": 128, "D4": 128}[name[:2]] == recipe.batch_size
    size = {"D0": 28, "D1": 224, "D3": 32, "D4": 96 if "googlenet" in name else 224}[name[:2]]
    assert recipe.image_size == size
    create(taught.network, **taught.options)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    write_idx_folder(tmp_path / "data" / "MNIST" / "raw", zipped=True)
    write_idx_folder(tmp_path / "data" / "FashionMNIST" / "raw", zipped=True)
    return tmp_path / "data"


def test_as_published_is_marked(mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED["D0/lenet"].settings, "train_samples", 20)  # type: ignore[arg-type]
    how: dict[str, Any] = {"runs_dir": tmp_path / "runs", "data_dir": mnist, "offline": True, "quiet": True}
    found = reproduce.reproduce("D0/lenet", seeds=2, epochs=3, **how)
    runs = [Run(path.parent) for path in sorted(found.path.glob("*/recipe.yaml"))]
    assert [run.experiment.recipe.seed for run in runs] == [0, 1]
    for run in runs:
        assert "as published" in run.results["weights"]
        assert run.results["test_reads"] == 4  # after each epoch, and at the end
        assert run.read_json("split.json")["samples"] == {"train": 20, "validation": 20, "test": 20}
    last = fmean(run.records[-1].val_accuracy or 0 for run in runs)
    with (found.path / "reproduction.csv").open() as file:
        rows = list(csv.DictReader(file))
    for at, row in enumerate(rows):
        mean = 100 * fmean(run.records[at].val_accuracy or 0 for run in runs)
        assert float(row["measured"]) == pytest.approx(mean, abs=1e-3)
    assert "the order is that of the file" in (found.path / "reproduction.html").read_text()
    assert f"measured: {100 * last:.2f} % (mean of 2 seeds)" in found.conclusions[0]


def test_better_is_honest(mnist: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"runs_dir": tmp_path / "runs", "data_dir": mnist, "offline": True, "quiet": True}
    found = reproduce.reproduce("D4/nin-mnist", better=True, epochs=1, **how)
    (run,) = [Run(path.parent) for path in found.path.glob("*/recipe.yaml")]
    samples = run.read_json("split.json")["samples"]
    assert samples["train"] + samples["validation"] == 20
    assert run.results["test_reads"] == 1
    accuracy = run.results["test"]["accuracy"]
    assert f"Published: 98.66 %; measured: {100 * accuracy:.2f} %" in found.conclusions[0]
    with pytest.raises(ConfigurationError, match="published are 10; give no more"):
        reproduce.reproduce("D4/nin-mnist", better=True, epochs=11, **how)


def test_a_part_of_the_images_is_named(mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how: dict[str, Any] = {"runs_dir": tmp_path / "runs", "data_dir": mnist, "offline": True}
    found = reproduce.reproduce("D4/nin-mnist", better=True, scale=0.5, epochs=1, **how)
    message = capsys.readouterr().out
    assert "0.5 of the training images, 5: not the published result" in message
    assert re.search(r"^time +about .* for 1 training$", message, re.MULTILINE)
    assert "measured on 0.5 of the training images" in found.conclusions[0]
    (run,) = [Run(path.parent) for path in found.path.glob("*/recipe.yaml")]
    assert run.read_json("split.json")["samples"]["train"] == 5


@pytest.mark.parametrize(
    ("result", "extra", "message"),
    [
        ("D4/resnet81", {}, "D4/resnet18"),
        ("D4/nin", {"scale": 0.0}, "above 0"),
        ("D4/nin", {"scale": math.nan}, "above 0"),
        ("D4/nin", {"seeds": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_reproduced(tmp_path: Path, result: str, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        reproduce.reproduce(result, runs_dir=tmp_path, quiet=True, **extra)


def test_the_test_set_in_place_of_validation(few: Dataset) -> None:
    recipe = Recipe().with_keys({"select_on_test": True, "validation_fraction": 0.0})
    parts = split_by_recipe(few, recipe)
    assert parts.validation is parts.test is few.test
    assert len(parts.train) == len(few.train)
    with pytest.raises(DataError, match="has no test set"):
        split_by_recipe(Dataset("bare", few.classes, few.train), recipe)
    with pytest.raises(ConfigurationError, match="takes the place of validation"):
        Recipe().with_keys({"select_on_test": True, "validation_fraction": 0.2})


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (4, 1), (5, 2), (7, 2), (100, 3)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_end_an_epoch_early(digits: Dataset, steps: int, epochs: int, accumulate: int) -> None:
    """240 images are four batches of 64."""
    data = Dataset("some", digits.classes, digits.train.take(torch.arange(240)), validation=digits.test, is_split=True)
    recipe = Recipe(epochs=3, steps=steps, batch_size=64, learning_rate=0.01, accumulate_batches=accumulate)
    settings = resolve(recipe, data)
    state = lenext.TrainingState.begin(create("lenet"), settings)
    seen = list(lenext.events(state, data, settings))
    batches = [event for event in seen if isinstance(event, lenext.Step) and event.phase == "train"]
    records = [event for event in seen if isinstance(event, lenext.Record)]
    updates, total_updates = settings.schedule.length
    assert (updates, total_updates) == (4 // accumulate, min(steps, 12 // accumulate))
    assert len(batches) == total_updates * accumulate
    assert len(records) == -(-total_updates // updates)
    if accumulate == 1:
        assert len(records) == epochs
        assert batches[-1].position == batches[-1].batches - 1
    assert batches[-1].learning_rate == pytest.approx(0, abs=0.01 / max(total_updates, 2)) or total_updates < 4


@pytest.mark.parametrize("name", lessons.LESSONS)
def test_each_lesson_varies_one_thing(name: str, mnist: Path) -> None:
    entry = lessons.LESSONS[name]
    experiments = [lessons.LessonComparison(name).experiment(arm) for arm in entry.arms.values()]
    assert len({(e.network, tuple(sorted(map(str, e.options.items()))), e.recipe) for e in experiments}) == len(
        experiments
    )
    assert len({e.recipe.seed for e in experiments}) == 1
    assert {e.data for e in experiments} == {entry.data}


@pytest.mark.parametrize(
    "name", [name if name in QUICK_LESSONS else pytest.param(name, marks=pytest.mark.slow) for name in lessons.LESSONS]
)
def test_each_lesson_concludes_what_its_figures_support(
    name: str, mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One short epoch each; the accuracies on the page are recomputed from the runs."""
    entry = lessons.LESSONS[name]
    varied_keys = {key for arm in entry.arms.values() for key in arm.recipe}
    few_rows = {key: value for key, value in {"epochs": 1, "train_samples": 60}.items() if key not in varied_keys}
    if name == "more-data":
        arms = {key: lessons.Arm("lenet", {}, {"train_samples": 10, "epochs": 1}) for key in entry.arms}
        entry = replace(entry, arms=arms)
    monkeypatch.setitem(lessons.LESSONS, name, replace(entry, seeds=2))
    found = lessons.lesson(name, runs_dir=tmp_path, data_dir=mnist, offline=True, quiet=True, **few_rows)
    page = found.page.read_text()
    assert found.conclusions
    for line in found.conclusions:
        assert f"{line}." in page.replace("&lt;", "<")
    for standing in found.standings:
        for outcome in standing.outcomes:
            assert outcome.run is not None, outcome.failure
            accuracy = outcome.run.results["test"]["accuracy"]
            assert standing.accuracies("test")[outcome.trial.seed] == accuracy
        assert f"{100 * fmean(standing.accuracies('test').values()):.2f}" in page


def test_what_a_lesson_varies_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="epochs: lesson longer compares it"):
        lessons.lesson("longer", runs_dir=tmp_path, epochs=1)


def test_an_unknown_lesson(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="pooling"):
        lessons.lesson("poling", runs_dir=tmp_path)
