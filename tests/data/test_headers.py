"""Headers of many images are cached, read again when files change, and a broken cache is ignored."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import lenext
from lenext.data import headers
from lenext.data.headers import Header, read_headers
from lenext.foundation.errors import DataError


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a temporary cache folder, and cache from three files on."""
    monkeypatch.setenv("LENEXT_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "MIN_CACHED_FILES", 3)
    return tmp_path / "cache" / "headers"


def images(folder: Path, count: int = 4) -> list[str]:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB" if number else "L", (10 + number, 20)).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(count)]


def test_they_are_what_the_files_say_and_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = images(tmp_path / "some")
    first = read_headers(tmp_path / "some", paths)
    assert first == [Header("L", 20, 10), *(Header("RGB", 20, 10 + number) for number in (1, 2, 3))]
    looked: list[str] = []
    real = headers.read_header
    monkeypatch.setattr(headers, "read_header", lambda path: looked.append(path) or real(path))  # type: ignore[func-returns-value]
    assert read_headers(tmp_path / "some", paths) == first
    assert looked == []
    Image.new("RGB", (50, 60)).save(paths[2])
    os.utime(paths[2], ns=(1, 1))
    assert read_headers(tmp_path / "some", paths)[2] == Header("RGB", 60, 50)
    assert looked == [paths[2]]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "\x00", json.dumps({"x": [1, 2, 3]})])
def test_a_broken_memory_is_forgotten(tmp_path: Path, small: Path, content: str) -> None:
    paths = images(tmp_path / "some")
    first = read_headers(tmp_path / "some", paths)
    (file,) = small.iterdir()
    file.write_text(content)
    assert read_headers(tmp_path / "some", paths) == first


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path, small: Path) -> None:
    paths = images(tmp_path / "some")
    small.parent.mkdir()
    small.write_text("a file where the folder would be")
    assert len(read_headers(tmp_path / "some", paths)) == 4
    small.unlink()
    read_headers(tmp_path / "some", paths)
    (file,) = small.iterdir()
    file.unlink()
    (file / "in the way").mkdir(parents=True)
    assert len(read_headers(tmp_path / "some", paths)) == 4


def test_the_spelling_of_a_folder_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = images(tmp_path / "some")
    first = read_headers(tmp_path / "some", paths)
    monkeypatch.setattr(headers, "read_header", lambda path: pytest.fail(f"{path} is read again"))
    monkeypatch.chdir(tmp_path)
    assert read_headers(Path("some"), [f"some/{Path(path).name}" for path in paths]) == first


def test_broken_images_are_named_each_time(tmp_path: Path) -> None:
    paths = images(tmp_path / "some")
    Path(paths[1]).write_bytes(b"nothing")
    for _ in range(2):
        headers_read = read_headers(tmp_path / "some", paths)
        assert isinstance(headers_read[1], DataError)
        assert isinstance(headers_read[2], Header)


def test_a_folder_is_the_same_from_anywhere(
    photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = photos("train/up", "train/down")
    (path / "train" / "up" / "deeper").mkdir()
    Image.new("RGB", (16, 16)).save(path / "train" / "up" / "deeper" / "x.png")
    (path / "train" / "up" / ".hidden").mkdir()
    Image.new("RGB", (16, 16)).save(path / "train" / "up" / ".hidden" / "y.png")
    ids = lenext.load(str(path)).train.ids.tolist()
    assert "train/up/deeper/x.png" in ids
    assert len(ids) == 21
    monkeypatch.chdir(path)
    assert lenext.load(".").train.ids.tolist() == ids
    monkeypatch.chdir(tmp_path)
    assert lenext.load(f"{path.name}/").train.ids.tolist() == ids
