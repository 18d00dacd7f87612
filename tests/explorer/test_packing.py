"""Arrays in a page: read back as the page reads them."""

import base64
import gzip

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lenext.explorer.packing import Pack, Storage, as_stored


def unpacked(pack: Pack, number: int) -> np.ndarray:
    """Return an array as the page's script reads it."""
    content = gzip.decompress(base64.b64decode(pack.to_text()))
    entry = pack.entries[number]
    count = int(np.prod(entry["shape"]))
    if entry["type"] == "int8":
        levels = np.frombuffer(content, np.int8, count, entry["start"]).reshape(entry["shape"])
        scales = np.asarray(entry["scales"], np.float32)
        return levels * scales.reshape(-1, *[1] * (levels.ndim - 1))
    given = 3 if entry["type"] == "fp24" else 4
    planes = np.frombuffer(content, np.uint8, given * count, entry["start"]).reshape(given, count)
    words = np.zeros((count, 4), np.uint8)
    words[:, 4 - given :] = planes.T
    return words.reshape(-1).view(np.float32).reshape(entry["shape"])


VALUES = npst.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(-1e6, 1e6, width=32)
)


@given(VALUES)
def test_fp32_is_exact(values: np.ndarray) -> None:
    pack = Pack()
    pack.append(b"before", (6,), "uint8")
    number = pack.add_weights(torch.from_numpy(values), "fp32")
    np.testing.assert_array_equal(unpacked(pack, number), values)


@given(VALUES, st.sampled_from(["fp24", "int8"]))
def test_rounded_weights_are_what_python_says(values: np.ndarray, storage: Storage) -> None:
    pack = Pack()
    number = pack.add_weights(torch.from_numpy(values), storage)
    stored = as_stored(torch.from_numpy(values), storage).numpy()
    np.testing.assert_allclose(unpacked(pack, number), stored, rtol=1e-6)
    if storage == "fp24":
        normal = np.abs(values) > 1e-30
        np.testing.assert_allclose(stored[normal], values[normal], rtol=2**-16)
    else:
        limit = np.abs(values).max(1, keepdims=True) / 254 * 1.001 + 1e-12
        assert (np.abs(stored - values) <= limit).all()


@pytest.mark.parametrize("storage", ["fp24", "int8"])
def test_vectors_stay_exact(storage: Storage) -> None:
    values = torch.randn(7)
    pack = Pack()
    np.testing.assert_array_equal(unpacked(pack, pack.add_weights(values, storage)), values.numpy())


def test_the_text_is_the_same_each_time() -> None:
    packs = [Pack(), Pack()]
    for pack in packs:
        pack.add_weights(torch.arange(12.0).view(3, 4), "fp32")
    assert packs[0].to_text() == packs[1].to_text()
