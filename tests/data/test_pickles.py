"""Pickles of arrays are read as pickle itself reads them; all else is refused before it can run."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lenext
from lenext.data.pickles import read_pickle
from lenext.foundation.errors import DataError, LenextError

IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def dumped(tmp_path: Path, value: Any, protocol: int = 4) -> Path:
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        IMAGES,
        IMAGES.astype(">i4"),
        IMAGES.astype(np.float32)[:, ::2],
        np.asfortranarray(IMAGES),
        np.bool_(True),
        np.float64(0.5),
        {"a": [1, 2.5, None, True, "text", b"bytes"], "b": (LABELS, {"c": -(2**70)})},
    ],
)
def test_arrays_and_plain_containers_as_pickle_reads_them(tmp_path: Path, value: Any, protocol: int) -> None:
    np.testing.assert_equal(read_pickle(dumped(tmp_path, value, protocol)), value)


def test_bytes_as_python_2_wrote_them(tmp_path: Path) -> None:
    """CIFAR-10's batches: an array whose content is a Python 2 string, its opcodes written by hand."""
    content = IMAGES.tobytes()
    path = tmp_path / "old.pkl"
    path.write_bytes(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"  # an empty array
        b"(K\x01K\x06K\x04K\x04\x87cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"  # its shape and type
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"  # the type's state, C order
        b"T" + len(content).to_bytes(4, "little") + content + b"tb."  # the content, as text
    )
    np.testing.assert_equal(read_pickle(path), IMAGES)


def test_nothing_of_ours_is_changed(tmp_path: Path) -> None:
    """BUILD on a function would set its attributes for the rest of the process."""
    path = tmp_path / "build.pkl"
    for name in (
        b"numpy.core.numeric\n_frombuffer",
        b"numpy.core.multiarray\nscalar",
        b"_codecs\nencode",
        b"numpy\ndtype",
    ):
        path.write_bytes(b"\x80\x02c" + name + b"\n}U\x0c__defaults__(U\x01Ztsb.")
        with pytest.raises(DataError):
            read_pickle(path)
        np.testing.assert_equal(read_pickle(dumped(tmp_path, IMAGES)), IMAGES)


def test_one_array_many_times_is_no_more_than_the_file(tmp_path: Path) -> None:
    array = np.zeros((100, 100), np.uint8)
    with pytest.raises(DataError):
        read_pickle(dumped(tmp_path, ([array] * 1000, [0] * 1000)))


class Call:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


GADGETS = [
    Call(os.system, "touch HERE"),
    Call(eval, "open('HERE', 'w')"),
    Call(getattr, "text", "upper"),
    Call(np.load, "HERE"),
    Call(np.ndarray, (3,)),
    Call(pickle.loads, b"N."),
    {"fine": IMAGES, "not": Call(print, "hello")},
    os.path.join,
    Path("x"),
    np.array([object()], dtype=object),
    np.array(["text"]),
    {1, 2},
]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("gadget", GADGETS, ids=map(str, range(len(GADGETS))))
def test_what_runs_something_is_refused(
    tmp_path: Path, gadget: Any, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = dumped(tmp_path, gadget, protocol)
    with pytest.raises(DataError) as caught:
        lenext.load(path)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["data.pkl"]


def test_memory_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    laugh: list[Any] = []
    for _ in range(15):
        laugh = [laugh] * 10
    far_memo = b"\x80\x02]r\xff\xff\xff\x7f."  # memo place 2**31
    many = b"\x80\x04c_codecs\nencode\n\x94" + b"\x8c\xff" + b"a" * 255 + b"\x94\x8c\x06latin1\x94"
    many += b"(" + b"h\x00h\x01h\x02\x86R" * 300 + b"t."
    for content in (pickle.dumps(laugh), far_memo, many):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_pickle(path)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_pickles_raise_only_our_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = pickle.dumps(((IMAGES, LABELS), (IMAGES, LABELS)), protocol=data.draw(st.sampled_from([2, 4])))
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.pkl"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        lenext.load(path)
    except LenextError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "value",
    [
        ((IMAGES, LABELS), (IMAGES[:3], LABELS[:3])),
        [(IMAGES.tolist(), LABELS.tolist()), (IMAGES[:3], LABELS[:3, None])],
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:3], "y_test": LABELS[:3]},
    ],
)
def test_train_and_test(tmp_path: Path, value: Any) -> None:
    data = lenext.load(dumped(tmp_path, value))
    assert data.test is not None
    assert (len(data.train), len(data.test), data.shape, data.classes) == (6, 3, (1, 4, 4), ("0", "1", "2"))


@pytest.mark.parametrize("value", [(IMAGES, LABELS), {"images": IMAGES, "labels": LABELS}])
def test_one_set(tmp_path: Path, value: Any) -> None:
    data = lenext.load(dumped(tmp_path, value))
    assert data.test is None
    assert len(data.train) == 6


@pytest.mark.parametrize("value", [1, {"a": IMAGES}, (IMAGES,), (IMAGES, LABELS, LABELS), "text"])
def test_other_shapes_are_one_line(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DataError, match="neither"):
        lenext.load(dumped(tmp_path, value))
