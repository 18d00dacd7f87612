"""What is said of records is what their numbers of samples and updates bear out."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenext.training.metrics import Record
from lenext.training.notices import (
    Samples,
    at_chance,
    calibration_notice,
    chance_notice,
    collapse_notice,
    final_notices,
    gap_notice,
)
from lenext.training.recipe import Recipe

CIFAR = Samples(10, 0.1, 50_000, 10_000)
FLOWERS = Samples(5, 0.24, 430, 48)
TAUGHT = Recipe(learning_rate=0.1, schedule="constant", initialization="xavier")
VGG = (0.0995, 0.0998, 0.1, 0.1083)  # in D4


def record(epoch: int, accuracy: float, loss: float, train_accuracy: float | None = None) -> Record:
    return Record(epoch, 1.0, loss, accuracy if train_accuracy is None else train_accuracy, loss, accuracy, 0.1)


def records(accuracies: Sequence[float], classes: int = 10) -> list[Record]:
    return [record(epoch, accuracy, math.log(classes)) for epoch, accuracy in enumerate(accuracies, 1)]


@pytest.mark.parametrize("epochs", [1, 2])
def test_chance_is_told_within_two_epochs_with_what_to_do(epochs: int) -> None:
    """VGG-11 in D4, at a constant rate."""
    recipe = Recipe(learning_rate=0.1, schedule="constant")
    said = chance_notice(records(VGG[:epochs]), CIFAR, recipe, 391, has_norms=False)
    for words in (
        "still guesses",
        "10% is chance",
        "stop it",
        "learning_rate other than 0.1",
        "batch norm",
        "initialization=kaiming",
    ):
        assert words in said
    assert "batch norm" not in chance_notice(records(VGG[:epochs]), CIFAR, recipe, 391, has_norms=True)
    assert chance_notice(records(VGG[:3]), CIFAR, recipe, 391, has_norms=False) == ""  # it was told twice


def test_one_epoch_of_14_steps_within_the_warm_up_says_nothing() -> None:
    """A run on 48 validation images, which reached 60 % in the end."""
    chance = record(1, 0.2083, 1.62)
    assert chance_notice([chance], FLOWERS, Recipe(), 14, has_norms=False) == ""
    assert chance_notice([chance], FLOWERS, TAUGHT, 14, has_norms=False) == ""  # too few steps
    assert chance_notice(records(VGG[:1]), CIFAR, Recipe(), 391, has_norms=False) == ""  # the rate still rises
    assert not at_chance(chance, Samples(5, 0.2, 48, 48))  # too few to tell one that is right twice as often
    assert not at_chance(record(1, 0.2083, 1.62, 0.40), FLOWERS)  # its training accuracy is above chance


def test_after_the_warm_up_chance_is_told() -> None:
    """one_cycle is at its highest after 3 of 10 epochs, cosine after its warm-up."""
    told = [bool(chance_notice(records([0.1] * n), CIFAR, Recipe(), 391, has_norms=False)) for n in range(1, 7)]
    assert told == [False, False, True, True, False, False]
    cosine = Recipe(schedule="cosine", warmup_epochs=1.0)
    told = [bool(chance_notice(records([0.1] * n), CIFAR, cosine, 50, has_norms=False)) for n in range(1, 8)]
    assert told == [False, False, False, True, True, False, False]  # 200 updates


def test_after_the_last_epoch_there_is_nothing_to_stop() -> None:
    said = chance_notice(records(VGG[:1]), CIFAR, Recipe(epochs=1), 391, has_norms=True)
    assert "still guesses" in said
    assert "stop" not in said


def test_what_learns_is_left_alone() -> None:
    for some in ([record(1, 0.18, 2.2)], [record(1, 0.1, 2.3), record(2, 0.4, 1.7)], records([0.108])):
        assert chance_notice(some, CIFAR, TAUGHT, 391, has_norms=False) == ""


@pytest.mark.parametrize(("classes", "count"), [(2, 300), (5, 400), (10, 150), (10, 10_000), (100, 5_000)])
def test_a_guesser_is_noticed_as_often_as_the_bound_says(classes: int, count: int) -> None:
    samples = Samples(classes, 1 / classes, count, count)
    draw = np.random.default_rng(0)
    loss = math.log(classes)

    def share_noticed(accuracy: float) -> float:
        rights = zip(draw.binomial(count, accuracy, 2000), draw.binomial(count, accuracy, 2000), strict=True)
        final_notices = [at_chance(record(1, held / count, loss, seen / count), samples) for held, seen in rights]
        return float(np.mean(final_notices))

    assert 0.89 <= share_noticed(1 / classes) <= 0.97  # 0.95 ** 2 or more: counts are whole
    assert share_noticed(min(2 / classes, (1 + 1 / classes) / 2)) <= 0.01


@given(st.integers(5, 1000), st.integers(0, 48), st.floats(0, 1))
def test_few_samples_conclude_nothing(classes: int, count: int, accuracy: float) -> None:
    samples = Samples(classes, 1 / classes, count, count)
    assert not at_chance(record(1, accuracy, 2 * math.log(classes)), samples)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 10), st.integers(0, 10**6), st.integers(0, 10**6))
def test_notices_bear_any_figures(a: float, b: float, loss: float, train: int, validation: int) -> None:
    samples = Samples(10, 0.1, train, validation)
    some = [record(1, a, loss, b), record(2, b, loss, a)]
    final_notices(some, samples)
    chance_notice(some, samples, Recipe(), 100, has_norms=False)


def test_a_gap_or_a_collapse_on_few_images_is_chance() -> None:
    """8 points on 48 images are 4 images; the standard error is 7 points."""
    gap = [record(5, 0.60, 1.0, 0.685)]
    assert gap_notice(gap, FLOWERS) == ""
    assert "by heart" in gap_notice(gap, CIFAR)
    assert "by heart" in gap_notice([record(5, 0.60, 1.0, 0.95)], FLOWERS)
    fell = [record(1, 0.40, 1.0), record(2, 0.25, 1.0)]
    assert collapse_notice(fell, Samples(10, 0.1, 180, 20)) == ""
    assert "collapsed" in collapse_notice(fell, CIFAR)


@given(st.integers(20, 5000), st.floats(0.3, 0.9), st.integers(0, 2**32))
def test_the_same_accuracy_is_rarely_called_a_gap(count: int, accuracy: float, seed: int) -> None:
    """Of 40 networks that are as good on both, hardly any are told of: 5 % by the bound, fewer by `GAP`."""
    draw = np.random.default_rng(seed)
    seen, held = draw.binomial(10 * count, accuracy, 40) / (10 * count), draw.binomial(count, accuracy, 40) / count
    samples = Samples(10, 0.1, 10 * count, count)
    assert sum(bool(gap_notice([record(1, b, 1.0, a)], samples)) for a, b in zip(seen, held, strict=True)) <= 10


@pytest.mark.parametrize(
    ("error", "confidence", "accuracy", "settings", "said"),
    [
        (0.095, 0.83, 0.925, {"label_smoothing": 0.1}, ["less sure", "underconfident", "label_smoothing=0.1", "9.5%"]),
        (0.095, 0.83, 0.925, {"mixup": 0.2, "cutmix": 1.0}, ["mixup=0.2 and cutmix=1", "softens"]),
        (0.095, 0.83, 0.925, {}, ["underconfident"]),
        (0.08, 0.98, 0.90, {"label_smoothing": 0.1}, ["more sure", "overconfident", "overfitting"]),
        (0.08, 0.90, 0.90, {}, ["some too high and some too low"]),
    ],
)
def test_miscalibration_is_told_with_its_cause(
    error: float, confidence: float, accuracy: float, settings: dict[str, float], said: list[str]
) -> None:
    found = calibration_notice(error, 0.02, confidence, accuracy, Recipe().with_keys(settings))
    assert all(words in found for words in said)
    assert ("softens" in found) == (confidence < accuracy and bool(settings))
    assert calibration_notice(error, 0.10, confidence, accuracy, Recipe()) == ""  # as large by chance
    assert calibration_notice(0.02, 0.01, confidence, accuracy, Recipe()) == ""
