"""Check every registered dataset, and how sources are detected."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import lenext
from lenext.data import DATASETS, detect_loader
from lenext.data.cifar import unpack
from lenext.data.dataset import Dataset
from lenext.foundation.errors import DataError, DownloadError
from tests.data.makers import write_cifar, write_idx_folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder in torchvision's layout with a few synthetic images of each published dataset."""
    write_idx_folder(tmp_path / "MNIST" / "raw", zipped=True)
    write_idx_folder(tmp_path / "FashionMNIST" / "raw", zipped=False)
    write_cifar(tmp_path / "cifar-10-batches-py", pickled=True)
    return tmp_path


@pytest.mark.parametrize("name", DATASETS)
def test_contract(name: str, data_dir: Path) -> None:
    data = lenext.load(name, data_dir=data_dir, offline=True)
    assert data.name == name
    assert data.test is not None
    for split in data.splits().values():
        assert split.images[torch.arange(2)].dtype == torch.uint8
        assert split.images.shape[1:] == (1, 28, 28) or split.images.shape[1:] == (3, 32, 32)
        assert split.labels.dtype == torch.int64
        assert len(split.images) == len(split.labels) == len(split.ids) > 0
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(data.classes) == 10
    assert data.source["kind"]
    assert not (data.flip_invariant and "digit" in DATASETS[name].about)


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.folder])
def test_what_is_not_there_is_not_fetched_offline(name: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="--offline"):
        lenext.load(name, data_dir=tmp_path, offline=True)


def test_only_what_is_missing_is_fetched(data_dir: Path) -> None:
    """A download that stopped after three of four files continues with the fourth."""
    missing = data_dir / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    missing.unlink()
    with pytest.raises(DownloadError, match="t10k-labels"):
        lenext.load("mnist", data_dir=data_dir, offline=True)
    (data_dir / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DownloadError, match=r"cifar-10-python\.tar\.gz"):
        lenext.load("cifar10", data_dir=data_dir, offline=True)


def archive(path: Path, members: dict[str, bytes | str]) -> Path:
    """Write a tar of files; text makes a link to that name."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_gives_its_expected_files_alone(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", {"x/a": b"1", "x/b": b"2", "x/readme.html": b"3"})
    unpack(path, tmp_path / "out", {"a": 10, "b": 10})
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert (tmp_path / "out" / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "members",
    [
        {"x/a": b"1", "../b": b"2"},
        {"x/a": b"1", "/tmp/b": b"2"},
        {"x/a": b"1", "x/b": "/etc/passwd"},
        {"x/a": b"1", "x/link": "..", "x/b": b"2"},
        {"x/a": b"1"},
        {"x/a": b"1", "x/b": b"2" * 11},
    ],
)
def test_a_hostile_archive_writes_nothing(tmp_path: Path, members: dict[str, bytes | str]) -> None:
    with pytest.raises(DataError):
        unpack(archive(tmp_path / "a.tar.gz", members), tmp_path / "deep" / "out", {"a": 10, "b": 10})
    assert [file.name for file in tmp_path.rglob("*")] == ["a.tar.gz"]
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="a broken archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", {"a": 10})


def test_published_files_have_two_mirrors_over_https() -> None:
    from lenext.data.cifar import ARCHIVE
    from lenext.data.idx import FASHION_FILES, MNIST_FILES

    for file in (*MNIST_FILES, *FASHION_FILES, ARCHIVE):
        assert len(set(file.urls)) >= 2
        assert all(url.startswith("https://") for url in file.urls)
        assert len(file.sha256) == 64


def test_digits_are_the_published_ones_enlarged(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    assert digits.test is not None
    ids = np.concatenate([digits.train.ids, digits.test.ids])
    assert sorted(ids.tolist()) == list(range(1797))
    for row in (0, 500, 1400):
        sample = int(digits.train.ids[row])
        assert int(digits.train.labels[row]) == labels[sample]
        shrunk = torch.nn.functional.avg_pool2d(digits.train.images[torch.tensor([row])][:, :, 2:-2, 2:-2].float(), 3)
        original = torch.tensor(small[sample]).view(8, 8) * 255 / 16
        assert float((shrunk[0, 0] - original).abs().mean()) < 20


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_as_torchvision_reads_it(tmp_path: Path, zipped: bool) -> None:
    images, labels = write_idx_folder(tmp_path, zipped=zipped)
    data = lenext.load(tmp_path)
    assert torch.equal(data.train.images[torch.arange(20)][:, 0], torch.from_numpy(images))
    assert data.train.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("pickled", [True, False])
def test_cifar_in_both_forms(tmp_path: Path, pickled: bool) -> None:
    rows, labels = write_cifar(tmp_path, pickled=pickled)
    data = lenext.load(tmp_path)
    assert data.shape == (3, 32, 32)
    assert len(data.train) == 5 * len(rows)
    assert np.array_equal(data.train.images[torch.arange(len(rows))].numpy().reshape(-1, 3072), rows)
    assert data.train.labels[: len(rows)].tolist() == labels


def idx_bytes(*shape: int, body: bytes | None = None, magic: int = 0x08) -> bytes:
    header = struct.pack(">BBBB", 0, 0, magic, len(shape)) + struct.pack(f">{len(shape)}I", *shape)
    return header + (bytes(int(np.prod(shape))) if body is None else body)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (idx_bytes(20, 28, 28)[:-1], "should follow the header, found only"),
        (idx_bytes(20, 28, 28) + b"x", "should follow the header, found more"),
        (idx_bytes(20, 28, 28, magic=0x0D), "type 0x0d"),
        (idx_bytes(20), "with 1 dimensions"),
        (idx_bytes(2**31, 2**20, 28, body=b""), "out of range"),
        (b"\x01\x02\x03", "not an IDX file"),
        (b"", "not an IDX file"),
    ],
)
def test_a_broken_idx_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    write_idx_folder(tmp_path, zipped=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        lenext.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert "train-images" in str(caught.value)


def test_a_broken_gzip_is_one_line(tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    for content in (path.read_bytes()[:-20], b"not gzip", gzip.compress(idx_bytes(20, 28, 28))[:60]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken or cut off|cannot be read"):
            lenext.load(tmp_path)


def test_images_and_labels_must_agree(tmp_path: Path) -> None:
    write_idx_folder(tmp_path, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(19))
    with pytest.raises(DataError, match="20 images but 19 labels"):
        lenext.load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="is missing"):
        lenext.load(tmp_path)


def test_a_broken_cifar_is_one_line(tmp_path: Path) -> None:
    write_cifar(tmp_path, pickled=False)
    path = tmp_path / "data_batch_3.bin"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(DataError, match="whole number of 3073-byte rows"):
        lenext.load(tmp_path)
    path.write_bytes(b"\x0b" + good[1:])
    with pytest.raises(DataError, match="a label outside 0 to 9"):
        lenext.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        lenext.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "loader"), [("a.csv", "table"), ("a.csv.gz", "table"), ("a.pkl", "arrays"), ("a.PICKLE", "arrays")]
)
def test_files_are_recognised_by_name(name: str, loader: str) -> None:
    assert detect_loader(Path(name)) == loader


def test_what_is_not_known_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").touch()
    with pytest.raises(DataError, match="not a supported dataset"):
        lenext.load(tmp_path / "data.xlsx")
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        lenext.load("mnits")
    with pytest.raises(DataError, match="no such file or folder"):
        lenext.load("nowhere/at/all")
