"""Data that changed after a run was made are noticed by whatever reads them again, whatever their source."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenext.foundation.errors import DataError, RunError
from lenext.workflows.evaluate import val
from lenext.workflows.report import report
from lenext.workflows.resume import resume
from lenext.workflows.show import embedding
from lenext.workflows.train import train
from tests.data.makers import write_cifar, write_idx_folder, write_table

DRAW = np.random.default_rng(0)


def folder(path: Path) -> Path:
    """Two classes of files that are all of the same size."""
    for label in ("down", "up"):
        (path / "train" / label).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((16, 16, 3), 200 if label == "up" else 20, dtype=np.uint8)
            pixels[number % 16] = number
            Image.fromarray(pixels).save(path / "train" / label / f"{number}.bmp")
    return path


def swap_files(path: Path) -> None:
    first, second = (path / "train" / label / "3.bmp" for label in ("down", "up"))
    before, after = first.read_bytes(), second.read_bytes()
    assert len(before) == len(after)
    first.write_bytes(after)
    second.write_bytes(before)


def idx(path: Path) -> Path:
    write_idx_folder(path, zipped=False)
    return path


def cifar(path: Path) -> Path:
    write_cifar(path, pickled=False)
    return path


def flip_last_byte(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[-1] ^= 1
        (path / name).write_bytes(content)

    return change


def table(path: Path) -> Path:
    return write_table(path.with_suffix(".csv"), [[k % 2, *((k + at) % 256 for at in range(64))] for k in range(40)])


def change_table(path: Path) -> None:
    path.write_text(path.read_text().replace("1,1,2,3", "1,2,2,3"))


def arrays(path: Path) -> Path:
    path = path.with_suffix(".pkl")
    images = np.arange(40 * 64, dtype=np.int64).reshape(40, 8, 8) % 256
    path.write_bytes(pickle.dumps((images.astype(np.uint8), np.arange(40) % 2)))
    return path


def change_arrays(path: Path) -> None:
    images, labels = pickle.loads(path.read_bytes())
    images[5, 3, 3] ^= 1
    path.write_bytes(pickle.dumps((images, labels)))


SOURCES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None]]] = {
    "folder": (folder, swap_files),
    "files": (folder, swap_files),
    "IDX": (idx, flip_last_byte("train-images-idx3-ubyte")),
    "IDX test set": (idx, flip_last_byte("t10k-images-idx3-ubyte")),
    "CIFAR-10": (cifar, flip_last_byte("data_batch_3.bin")),
    "CSV": (table, change_table),
    "pickle": (arrays, change_arrays),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_changed_data_are_noticed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, change = SOURCES[kind]
    if kind == "files":
        monkeypatch.setattr("lenext.data.folder.MAX_BYTES_IN_MEMORY", 0)  # so that they stay in their files
    path = make(tmp_path / "data")
    run = train("lenet", path, epochs=1, image_size=28, runs_dir=tmp_path / "runs", quiet=True)
    before = val(run, split="train", quiet=True).accuracy
    resume(run, epochs=2, quiet=True)
    change(path)
    with pytest.raises(DataError, match=r"samples have changed since the run was made"):
        embedding(run)
    with pytest.raises(DataError, match=r"its \w+ samples have changed since the run was made"):
        for part in ("train", "validation", "test"):
            val(run, split=part, quiet=True)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="have changed since training stopped"):
        resume(run, epochs=3, quiet=True)
    assert "changed since the run was made" in report(run).read_text()
    change(path)  # and back, but for the table
    if kind not in ("CSV",):
        assert 0 <= before <= 1
        val(run, quiet=True)
        assert "changed since" not in report(run).read_text()


def test_a_test_set_from_elsewhere_is_named(tmp_path: Path) -> None:
    path, apart = folder(tmp_path / "data"), folder(tmp_path / "apart")
    run = train("lenet", path, test_data=str(apart / "train"), epochs=1, image_size=28, runs_dir=tmp_path, quiet=True)
    swap_files(apart)
    with pytest.raises(DataError, match=r"apart/train: its test samples have changed"):
        val(run, split="test", quiet=True)
    val(run, quiet=True)
