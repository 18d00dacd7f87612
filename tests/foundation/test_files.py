from pathlib import Path

import pytest

from lenext.foundation.errors import LenextError
from lenext.foundation.files import atomic, make_folder, sha256, write_atomic


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "abc")
    assert (tmp_path / "a.txt").read_text() == "abc"
    assert sha256(tmp_path / "a.txt") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LenextError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "folder")
    with pytest.raises(LenextError, match="cannot write"):
        write_atomic(tmp_path / "missing" / "a.txt", "abc")
