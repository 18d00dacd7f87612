"""Saving, interrupted at every step of it; the order of what reaches the disk; disks that are full, locked or gone."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lenext
from lenext.data.dataset import Dataset
from lenext.foundation import files
from lenext.foundation.errors import LenextError, RunError
from lenext.foundation.files import free_space, write_atomic
from lenext.runs import checkpoint
from lenext.runs.folder import Run
from tests.recovery.fork_server import ForkServer
from tests.recovery.runs import command, damage, outcome

TREE = {
    "epoch": 3, "none": None, "list": [1, 2.5, "ü", {"inner": torch.arange(5)}], "nan": float("inf"),
    "network": {"a.weight": torch.randn(3, 2, 2, 2), "a.count": torch.tensor(7)}, "empty": {},
}  # fmt: skip


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, TREE, epoch=1, position=2)
    found = checkpoint.load(path)
    assert found.keys() == TREE.keys()
    assert [found[key] for key in ("epoch", "none", "nan", "empty")] == [3, None, float("inf"), {}]
    assert found["list"][:3] == [1, 2.5, "ü"]
    assert torch.equal(found["list"][3]["inner"], torch.arange(5))
    network = TREE["network"]
    assert isinstance(network, dict)
    assert all(torch.equal(found["network"][name], one) for name, one in network.items())
    assert path.read_bytes() == checkpoint.save(tmp_path / "b", TREE, epoch=1, position=2).read_bytes()


def test_the_last_three_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for step in range(6):
        checkpoint.save(tmp_path, TREE, epoch=step // 4, position=step)
    kept = [path.stem for path in checkpoint.list_checkpoints(tmp_path)]
    assert kept == ["epoch-00001-step-0000005", "epoch-00001-step-0000004", "epoch-00000-step-0000003"]
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.slow
def test_1000_damages_none_accepted(tmp_path: Path, digits: Dataset) -> None:
    """Bit flips, truncations, zeroed pages, in checkpoints and in weights."""
    run = lenext.train("lenet", digits, epochs=1, runs_dir=tmp_path, quiet=True)
    from lenext.runs import weights

    draw = np.random.default_rng(0)
    for path, read in (
        (checkpoint.list_checkpoints(run.checkpoints)[0], checkpoint.load),
        (run.weights(), weights.load),
    ):
        good = path.read_bytes()
        for _ in range(500):
            damage(path, draw)
            assert path.read_bytes() != good
            with pytest.raises(RunError):
                read(path)
            path.write_bytes(good)
        read(path)


def test_a_few_damages(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, TREE, epoch=0, position=1)
    good, draw = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damage(path, draw)
        with pytest.raises(RunError):
            checkpoint.load(path)
        path.write_bytes(good)


@pytest.mark.parametrize("number", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_every_step_of_a_save_interrupted(fork_server: ForkServer, tmp_path: Path, number: int) -> None:
    """The first save, and the fourth, which removes an older one. Whatever the step, the run ends as if unbroken."""
    steps = 0
    for step in range(30):
        folder = tmp_path / str(step)
        folder.mkdir()
        code = fork_server.run(*command("lenet", "a", 1), cwd=folder, fault=("die_in_save", number, step))
        if code == 0:
            steps = int((folder / "steps").read_text())
            if step > 0:
                break
            wanted = outcome(folder / "runs" / "a")
            continue
        assert code == -signal.SIGKILL
        run = Run(folder / "runs" / "a")
        found = checkpoint.load_newest(run.checkpoints, pytest.fail)
        assert (found is not None) or number == 1
        at = found[1]["state"]["progress"]["position"] if found else 0
        assert at in (number - 1, number)
        assert fork_server.run("resume", "runs/a", cwd=folder) == 0, (folder / "err").read_text()
        assert outcome(run.path) == wanted
        assert not list(run.path.rglob("*.tmp"))
    assert step == steps + 1
    assert steps >= 6 + (number == 4)  # half written, synced, compared, synced, renamed, folder synced, removed


SAVE_TWICE = """
import sys, torch
from pathlib import Path
from lenext.runs import checkpoint
for step in range(5):
    checkpoint.save(Path(sys.argv[1]), {"a": torch.ones(9)}, epoch=0, position=step)
"""


def test_the_order_of_system_calls(tmp_path: Path) -> None:
    """Written, synced, read back, renamed, the folder synced, and only then an older one removed: as the kernel saw."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    folder, log = tmp_path / "checkpoints", tmp_path / "log"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=openat,read,write,fsync,rename,renameat,unlink"]
    done = subprocess.run([*command, sys.executable, "-c", SAVE_TWICE, str(folder)], capture_output=True, check=False)
    if b"ptrace" in done.stderr or b"PTRACE" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr
    calls = []
    for line in log.read_text().splitlines():
        if str(folder) in line and "= -1" not in line:
            name = re.sub(r"^\d+\s+", "", line).split("(")[0]
            what = "file" if ".tmp" in line or name in ("unlink", "rename") else "folder"
            calls.append((name, what))
    short: list[tuple[str, str]] = []
    for call in calls:
        if call[0] in ("write", "fsync", "read", "rename", "unlink") and (not short or short[-1] != call):
            short.append(call)
    once = [
        ("write", "file"),
        ("fsync", "file"),
        ("read", "file"),
        ("fsync", "file"),
        ("rename", "file"),
        ("fsync", "folder"),
    ]
    assert short == [*once * 3, *([*once, ("unlink", "file"), ("fsync", "folder")] * 2)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_too_small_is_told_before(small_disk: Path, few: Dataset) -> None:
    with pytest.raises(RunError, match=r"needs about \d+ MB, and 8 MB are free there; make room, or give another"):
        lenext.train("lenet", few, runs_dir=small_disk, quiet=True)


def test_a_disk_that_fills_up(small_disk: Path, few: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the place and the bytes; the last good checkpoint loads, and with room the run goes on."""
    monkeypatch.setattr("lenext.workflows.session.OTHER_FILES_BYTES", -(1 << 40))  # as if there had been room
    more: dict[str, Any] = {"epochs": 4, "quiet": True, "checkpoint_minutes": 1e-9}
    whole = lenext.train("lenet", few, runs_dir=tmp_path, name="a", **more)
    filler = small_disk / "filler"
    filler.write_bytes(bytes((free_space(small_disk) or 0) - 1_400_000))
    with pytest.raises(LenextError) as caught:
        lenext.train("lenet", few, runs_dir=small_disk, name="a", **more)
    said = str(caught.value)
    words = r"^cannot write .*: No space left on device; [\d,]+ bytes are needed, [\d,]+ are free$"
    assert re.search(words, said)
    assert str(small_disk) in said
    run = Run(small_disk / "a")
    assert checkpoint.load_newest(run.checkpoints, pytest.fail) is not None
    assert not list(run.path.rglob("*.tmp"))
    filler.unlink()
    lenext.resume(run, data=few, quiet=True)
    assert outcome(run.path) == outcome(whole.path)


def test_a_read_only_folder(small_disk: Path, few: Dataset) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LenextError, match=r"not writable|Read-only file system"):
        lenext.train("lenet", few, runs_dir=small_disk / "runs", quiet=True)


def test_a_run_folder_that_vanishes(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lenext.workflows import session

    real = session.checkpoint.save

    def save(folder: Path, *arguments: Any, **more: Any) -> Path:
        path = real(folder, *arguments, **more)
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        return path

    monkeypatch.setattr(session.checkpoint, "save", save)
    with pytest.raises(LenextError, match=r"cannot write .*runs"):
        lenext.train("lenet", few, epochs=3, runs_dir=tmp_path / "runs", quiet=True)


def test_the_disk_gives_back_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "a", b"old", read_back=True)
    real = os.fsync

    def spoil(number: int) -> None:
        real(number)
        for path in tmp_path.glob(".a.*"):
            path.write_bytes(b"nex")

    monkeypatch.setattr(files.os, "fsync", spoil)
    with pytest.raises(LenextError, match="the disk returned other bytes"):
        write_atomic(tmp_path / "a", b"new", read_back=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
