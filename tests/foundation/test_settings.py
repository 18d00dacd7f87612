from typing import Literal

import pytest

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import convert


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3", int, 3),
        ("1e-3", float, 1e-3),
        (3, float, 3.0),
        ("yes", bool, True),
        ("off", bool, False),
        ("3,4,6,3", tuple[int, ...], (3, 4, 6, 3)),
        ([3, 4], tuple[int, ...], (3, 4)),
        ("auto", int | Literal["auto"], "auto"),
        ("32", int | Literal["auto"], 32),
        ("auto", bool | Literal["auto"], "auto"),
        ("max", Literal["max", "average"], "max"),
        (5, str | int, 5),
    ],
)
def test_values_become_their_type(value: object, kind: object, expected: object) -> None:
    assert convert("key", value, kind) == expected
    assert type(convert("key", value, kind)) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("3.5", int),
        (3.5, int),
        (True, int),
        (1, bool),
        ("maybe", bool),
        ("x", float),
        ("min", Literal["max"]),
        (None, int),
    ],
)
def test_what_would_lose_something_is_refused(value: object, kind: object) -> None:
    with pytest.raises(ConfigurationError, match="key"):
        convert("key", value, kind)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("lenett", "lenet"), ("RESNET18", "resnet18"), ("resnet-18", "resnet18"), ("act", "activation")],
)
def test_the_nearest_name_is_reported(name: str, nearest: str) -> None:
    assert f"did you mean '{nearest}'" in unknown_name("network", name, ["lenet", "resnet18", "activation"])


def test_without_a_near_name_all_are_listed() -> None:
    assert unknown_name("network", "zzz", ["lenet", "resnet18"]).endswith("there are: lenet, resnet18")
