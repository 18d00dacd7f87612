"""Files that are written whole, and files that are read: regular ones, within limits."""

import os
import stat
import threading
from pathlib import Path

import pytest

from lenext.foundation.errors import LenextError
from lenext.foundation.files import (
    atomic,
    make_folder,
    open_regular,
    provisional_folder,
    read_regular,
    sha256,
    write_atomic,
)


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


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target.txt"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "folder" / "new.txt")
    write_atomic(tmp_path / "link", "new")
    write_atomic(tmp_path / "dangling", "made")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "folder" / "new.txt").read_text() == "made"
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["new.txt", "target.txt"]


@pytest.mark.skipif(os.name == "nt", reason="no pipes by name")
def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    while True:  # until the reader has opened it
        try:
            write_atomic(pipe, b"content" * 20_000)  # more than a pipe holds at a time
            break
        except LenextError as error:
            assert "nothing reads" in str(error)
    reader.join(10)
    assert received == [b"content" * 20_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(os.name == "nt", reason="no pipes by name")
def test_a_pipe_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LenextError, match="nothing reads from this pipe"):
        write_atomic(tmp_path / "pipe", "abc")


def test_a_device_is_written_through(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.write_bytes(b"")
    except (OSError, AttributeError):
        pytest.skip("only root may make a device")
    write_atomic(device, "abc", read_back=True)
    assert stat.S_ISCHR(device.stat().st_mode)
    assert os.major(device.stat().st_rdev) == 1


def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(0o600)
    write_atomic(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="no devices by name")
def test_only_regular_files_within_a_limit_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, reason in (("pipe", "not a regular file"), ("link", "not a regular file"), (".", "a folder")):
        with pytest.raises(OSError, match=reason):
            open_regular(tmp_path / name)
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(tmp_path / "large", 4)
    assert read_regular(tmp_path / "large", 5) == b"12345"


def test_a_provisional_folder_goes_with_what_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), provisional_folder(tmp_path / "a" / "b"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError), provisional_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
        raise RuntimeError
    assert (tmp_path / "a" / "b" / "file").exists()
    with provisional_folder(tmp_path / "c"):
        pass
    assert (tmp_path / "c").is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", "/", "folder", "link"])
def test_a_folder_is_never_written_over(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LenextError, match="it is a folder; give the name of a file"):
        write_atomic(Path(name), "abc")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link"]
