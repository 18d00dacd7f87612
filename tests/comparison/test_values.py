"""What `--option` may say in a variation."""

import pytest

from lenext.comparison.values import Choices, Range, parse_choices, scale_tuple
from lenext.foundation.errors import ConfigurationError


def parse_one(text: str, network: str = "convnext_patch4") -> Choices:
    (choices,) = parse_choices(network, [text])
    return choices


@pytest.mark.parametrize(
    ("text", "values", "of_recipe"),
    [
        ("depths=3,5,7", ((3, 3), (5, 5), (7, 7)), False),
        ("widths=32,48", ((32, 64), (48, 96)), False),
        ("depths=(1,2),(3,4,5)", ((1, 2), (3, 4, 5)), False),
        ("patch=2,4", (2, 4), False),
        ("norm=image,none", ("image", "none"), False),
        ("skips=true,false", (True, False), False),
        ("optimizer=sgd,muon", ("sgd", "muon"), True),
        ("learning_rate=1e-3,0.01", (1e-3, 0.01), True),
    ],
)
def test_lists(text: str, values: tuple[object, ...], of_recipe: bool) -> None:
    choices = parse_one(text)
    assert (choices.values, choices.of_recipe) == (values, of_recipe)


@pytest.mark.parametrize(
    ("text", "span", "log"),
    [
        ("learning_rate=1e-4..1e-1", Range(1e-4, 1e-1, False), True),
        ("weight_decay=0..1", Range(0, 1, False), False),
        ("depths=1..6", Range(1, 6, True), False),
        ("patch=1..6", Range(1, 6, True), False),
        ("label_smoothing=0.0..0.2", Range(0.0, 0.2, False), False),
    ],
)
def test_ranges(text: str, span: Range, log: bool) -> None:
    choices = parse_one(text).range
    assert choices == span
    assert choices.log == log


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["depth=3"], "nearest|mean|depths"),
        (["depths"], "KEY=V1,V2"),
        (["depths="], "KEY=V1,V2"),
        (["depths=x"], "whole number"),
        (["norm=batch"], "batch_tensor"),
        (["epochs=0"], "at least 1"),
        (["learning_rate=3..1"], "lower end"),
        (["patch=2,2"], "twice"),
        (["patch=2", "patch=4"], "twice"),
        (["seed=1,2"], "--seeds"),
        (["depths=3, ,5"], "by commas"),
        (["depths=,"], "by commas"),
        (["depths=(3,5"], "by commas"),
        (["depths=3)"], "by commas"),
        (["norm=1..3"], "a range is for numbers"),
        (["patch=1.5..3"], "whole numbers"),
        (["split_seed=1,2"], "same split"),
    ],
)
def test_what_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_choices("convnext_patch4", texts)


def test_proportion_by_hand() -> None:
    assert scale_tuple(3, (5, 5)) == (3, 3)
    assert scale_tuple(6, (3, 4, 6, 3)) == (6, 8, 12, 6)
    assert scale_tuple(1, (96, 192)) == (1, 2)
