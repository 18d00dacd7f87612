"""Each key of a recipe changes the outcome of a training or is refused: in `train`, `lr-find`, `compare` and `vary`.

A key that is added to the recipe fails here until it has a row that shows its effect.
"""

import hashlib
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lenext
from lenext.comparison.race import Race
from lenext.comparison.variations import Variations
from lenext.data.dataset import Dataset
from lenext.foundation.device import cpu_has_bf16
from lenext.foundation.errors import LenextError
from lenext.training.rates import RateSearch
from lenext.training.recipe import NOT_FOR_FEW_STEPS, Recipe
from lenext.workflows.context import Context
from lenext.workflows.prepare import load_data
from tests.commands.options import commands

OTHER_PRECISION = "fp32" if cpu_has_bf16() else "bf16"
MUON = {"optimizer": "muon"}
OWN_TEST: dict[str, Any] = {"data": "digits", "train_samples": 60}

KEYS: dict[str, tuple[dict[str, Any], Any]] = {
    "image_size": ({}, 32), "resize": ({"image_size": 32}, "pad"), "scaling": ({}, "unit"),
    "train_samples": ({}, 50), "validation_fraction": ({}, 0.3), "test_fraction": ({}, 0.4), "split": ({}, "random"),
    "split_seed": ({}, 1), "select_on_test": (OWN_TEST, True), "shuffle": ({}, False), "flip": ({}, True),
    "shift": ({}, 2), "shift_padding": ({"shift": 2}, "reflect"), "random_crop": ({}, 0.5), "color_jitter": ({}, 0.5),
    "cutout": ({}, 8), "random_erasing": ({}, 1.0), "mixup": ({}, 0.5), "cutmix": ({}, 0.5),
    "balanced_sampling": ({}, True), "hardest_fraction": ({}, 0.5), "progressive_resizing": ({}, 0.5),
    "feature_views": ({}, 2),
    "epochs": ({}, 3), "steps": ({}, 3), "batch_size": ({}, 8), "accumulate_batches": ({}, 2),
    "optimizer": ({}, "adamw"), "learning_rate": ({}, 0.01), "momentum": ({}, 0.5), "keep_weight_norms": (MUON, True),
    "newton_schulz_steps": (MUON, 3), "nesterov": ({}, False), "weight_decay": ({}, 0.1),
    "decay_norms_and_biases": ({}, True),
    "schedule": ({}, "cosine"), "warmup_epochs": ({"schedule": "cosine"}, 1.0), "label_smoothing": ({}, 0.1),
    "class_weights": ({}, True), "ema_decay": ({}, 0.5), "gradient_clip": ({}, 0.01), "initialization": ({}, "xavier"),
    "freeze_stem_after": ({}, 0.5), "early_stopping": ({"epochs": 4, "learning_rate": 0.0}, 1),
    "evaluate_training": ({}, True), "tta": ({}, "shift"), "seed": ({}, 1), "device": ({}, "mps"),
    "precision": ({}, OTHER_PRECISION), "memory_format": ({}, "contiguous"), "compile": ({}, "cuda_graphs"),
    "parts": ({}, 2), "replicas": ({}, 2), "reduction": ({}, "fast"), "fast_layers": ({"precision": "bf16"}, False),
    "checkpoint_minutes": ({}, 1e-6), "tensorboard": ({}, True), "threads": ({}, 2),
}  # fmt: skip
"""For each key the other keys with which it has an effect, and a value that has one."""

NETWORKS = {"fast_layers": "convnext_patch4_corrected"}
"""The networks that show the effect of a key where LeNet has none."""

WITHOUT_EFFECT: list[dict[str, Any]] = [
    {"shift_padding": "reflect"}, {"weight_decay": 0.0, "decay_norms_and_biases": True},
    {"split": "ordered", "split_seed": 1}, {"epochs": 1, "progressive_resizing": 0.5}, {"keep_weight_norms": True},
    {"newton_schulz_steps": 3}, {"warmup_epochs": 1.0}, {"optimizer": "adamw", "nesterov": True},
]  # fmt: skip
"""Keys beside others that leave them nothing to do."""


@pytest.fixture(scope="module")
def unbalanced(digits: Dataset) -> Dataset:
    """100 digits without a test set, most of them of two classes."""
    labels = digits.train.labels.numpy()
    rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate((40, 30, 15, 15))])
    return Dataset.from_arrays(digits.train.images[rows].numpy(), labels[rows], name="unbalanced")  # type: ignore[index]


def trained(settings: dict[str, Any], data: Dataset, folder: Path, network: str = "lenet") -> tuple[Any, ...]:
    """Train; return records, weights, predictions, checkpoints, machine and notes, or the refusal."""
    usual: dict[str, Any] = {"data": data, "epochs": 2, "batch_size": 16, "optimizer": "sgd", "label_smoothing": 0.0,
                             "shift": 0, "learning_rate": 0.05}  # fmt: skip
    try:
        run = lenext.train(network, **(usual | settings), runs_dir=folder, quiet=True, report=False)
    except LenextError as error:
        return ("refused", str(error))
    lines = (run.path / "results.csv").read_text().splitlines()
    environment = run.environment
    notes = [line for line in (run.path / "train.log").read_text().splitlines() if line.startswith("note:")]
    return (
        [line.split(",")[:1] + line.split(",")[2:] for line in lines],
        [hashlib.sha256(run.weights(which).read_bytes()).hexdigest() for which in ("best", "last")],
        (run.path / "predictions.csv").read_text(),
        sorted(path.name for path in run.checkpoints.iterdir()),
        [environment[key] for key in ("device", "precision", "memory_format", "threads")],
        notes,
    )


def test_every_key_has_a_case() -> None:
    assert set(KEYS) == {one.name for one in fields(Recipe)}


def test_the_verbs_take_the_keys_that_they_heed() -> None:
    every = {one.name for one in fields(Recipe)}
    taken = {words: {one.name[2:].replace("-", "_") for one in some} & every for words, some in commands().items()}
    assert taken[("train",)] == every
    assert taken[("lr-find",)] == every - set(NOT_FOR_FEW_STEPS)
    assert taken[("compare",)] == taken[("vary",)] == every - {"seed"}


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_a_key_changes_a_training_or_is_refused(key: str, unbalanced: Dataset, tmp_path: Path) -> None:
    if key == "threads" and (os.cpu_count() or 1) < 2:
        pytest.skip("one core")
    context, value = KEYS[key]
    network = NETWORKS.get(key, "lenet")
    without = trained(context, unbalanced, tmp_path / "a", network)
    assert trained(context | {key: value}, unbalanced, tmp_path / "b", network) != without


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_a_key_changes_the_search_for_a_rate_or_is_refused(key: str, tmp_path: Path) -> None:
    def searched(settings: dict[str, Any]) -> object:
        usual: dict[str, Any] = {"data": "digits", "train_samples": 57, "batch_size": 16, "optimizer": "sgd",
                                 "label_smoothing": 0.0, "shift": 0}  # fmt: skip
        try:
            return lenext.lr_find("lenet", **(usual | settings), out=tmp_path / "a.png", quiet=True)
        except LenextError as error:
            return str(error)

    context, value = KEYS[key]
    if key in NOT_FOR_FEW_STEPS:
        assert "has no effect" in str(searched({key: value}))
    elif key in ("threads", "memory_format", "fast_layers"):  # of the machine: they may leave the bits as they are
        assert isinstance(searched({key: value}), RateSearch)
    else:
        assert searched(context) != searched(context | {key: value})


@pytest.mark.parametrize("settings", WITHOUT_EFFECT, ids=str)
def test_a_key_without_effect_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(LenextError):
        Recipe(**settings)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_in_every_experiment_of_a_comparison(key: str) -> None:
    """A trial trains the experiment that it is made from: `run_experiment` takes it unchanged."""
    context, value = KEYS[key]
    settings = {name: one for name, one in (context | {key: value}).items() if name != "data"}
    if key == "seed":
        with pytest.raises(LenextError, match="--seeds"):
            lenext.race("lenet", "lenet5", **settings)
        with pytest.raises(LenextError, match="--seeds"):
            lenext.vary("lenet", ["activation=tanh"], **settings)
        return
    race = Race(("lenet", "lenet5"), "digits", settings=settings)
    contestants, _ = race.contestants(load_data(race.first_experiment(), Context(offline=True)))
    base = Variations("lenet", ("activation=tanh",), "digits", settings=settings).first_experiment()
    for experiment in (*(contestant.experiment for contestant in contestants), base):
        assert getattr(experiment.recipe, key) == value
