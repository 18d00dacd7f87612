"""A weights file is enough to predict, and is refused if a bit has changed."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import RunError
from lenext.foundation.normalization import Normalization
from lenext.models import create
from lenext.runs.weights import Description, load, restore_network, save

PREPARE = Preprocessing(1, (28, 28), "crop", (28, 28), "interpolate", Normalization((0.1,), (0.3,)))
OPTIONS = {"in_channels": 1, "num_classes": 3, "activation": "tanh"}
DESCRIPTION = Description("lenet", OPTIONS, ("a", "ü", 'c"'), PREPARE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(tmp_path / "w.safetensors", create("lenet", **OPTIONS), DESCRIPTION)
    return tmp_path / "w.safetensors"


def test_a_file_alone_is_enough(path: Path) -> None:
    torch.manual_seed(0)
    original = create("lenet", **OPTIONS)
    tensors, description = load(path)
    assert description == DESCRIPTION
    network = restore_network(tensors, description, path)
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(network(images), original(images))
    assert set(safetensors.torch.load_file(path)) == set(original.state_dict())


def test_any_flipped_bit_or_lost_byte_is_noticed(path: Path) -> None:
    good = path.read_bytes()
    draw = np.random.default_rng(0)
    for place in [*range(0, 400, 7), *draw.integers(0, len(good), 200).tolist()]:
        content = bytearray(good)
        content[place] ^= 1 << int(draw.integers(0, 8))
        path.write_bytes(content)
        with pytest.raises(RunError):
            load(path)
    for size in (0, 8, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(RunError):
            load(path)
    path.write_bytes(good)
    load(path)


def test_weights_for_another_network_are_refused(path: Path) -> None:
    tensors, description = load(path)
    with pytest.raises(RunError, match="do not fit lenet") as caught:
        restore_network(tensors, description, path, create("lenet5"))
    assert "\n" not in str(caught.value)
    nameless = Description("", {}, ("a", "b"), PREPARE)
    with pytest.raises(RunError, match="made in Python"):
        restore_network(tensors, nameless, path)


def test_other_safetensors_are_told_apart(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="not a weights file of lenext"):
        load(tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        load(tmp_path / "missing.safetensors")
