"""Load CIFAR-10 (Krizhevsky 2009) from its published binary files or its pickled files, as torchvision keeps them."""

import tarfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data import DATASETS, LoadOptions
from lenext.data.dataset import Dataset, Split
from lenext.data.pickles import read_pickle
from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import DataError
from lenext.foundation.files import atomic, make_folder, read_regular

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
ROW_BYTES = 1 + 3 * 32 * 32  # a label byte, then the red, the green and the blue plane
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
MAX_BATCH_BYTES = 64 << 20

ARCHIVE = RemoteFile(
    "cifar-10-python.tar.gz",
    170498071,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
        "https://oneflow-public.oss-cn-beijing.aliyuncs.com/datasets/cifar/cifar-10-python.tar.gz",
    ),
)


def load(options: LoadOptions) -> Dataset:
    """Load CIFAR-10 from the data folder, in either form; download and unpack it first if it is missing."""
    folder = find_folder(options.data_dir)
    if folder is None or not is_complete(folder):
        archive = fetch(ARCHIVE, options.data_dir, offline=options.offline)
        folder = options.data_dir / DATASETS["cifar10"].folder
        unpack(archive, folder, dict.fromkeys((*TRAIN_BATCHES, *TEST_BATCHES, "batches.meta"), MAX_BATCH_BYTES))
    return read_folder(folder)


def load_path(path: Path, options: LoadOptions) -> Dataset:
    return read_folder(find_folder(path) or path)


def find_folder(path: Path) -> Path | None:
    """Return the folder, `path` or directly below it, that contains CIFAR-10's batches; None if there is none."""
    for folder in (path, *(path / name for name in FOLDERS)):
        if (folder / "data_batch_1.bin").is_file() or (folder / "data_batch_1").is_file():
            return folder
    return None


def is_complete(folder: Path) -> bool:
    """Return whether all six batches of one of the forms exist."""
    return any(all((folder / (name + end)).is_file() for name in TRAIN_BATCHES + TEST_BATCHES) for end in (".bin", ""))


def read_folder(folder: Path) -> Dataset:
    """Read the five training batches and the test batch. Raises DataError."""
    binary = (folder / "data_batch_1.bin").is_file()
    splits = {}
    for part, names in (("train", TRAIN_BATCHES), ("test", TEST_BATCHES)):
        rows = []
        for name in names:
            path = folder / (name + ".bin" if binary else name)
            if not path.is_file():
                raise DataError(f"{path} is missing; remove the folder to download it again")
            rows.append(read_binary(path) if binary else read_pickled(path))
        pixels = torch.from_numpy(np.concatenate([row[0] for row in rows]))
        labels = torch.from_numpy(np.concatenate([row[1] for row in rows]))
        splits[part] = Split(pixels, labels, np.arange(len(labels)))
    source = {"kind": f"CIFAR-10, {'binary' if binary else 'pickled'}", "path": str(folder.resolve())}
    return Dataset("cifar10", CLASSES, splits["train"], test=splits["test"], source=source, flip_invariant=True)


def check_batch(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images as (N, 3, 32, 32) with their labels. Raises DataError for a label outside 0 to 9."""
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise DataError(f"{path}: a label outside 0 to 9; this is not a CIFAR-10 batch")
    return pixels.reshape(-1, 3, 32, 32), labels


def read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch of the binary form: images (N, 3, 32, 32) and labels (N,). Raises DataError."""
    try:
        content = read_regular(path, MAX_BATCH_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) == 0 or len(content) % ROW_BYTES:
        raise DataError(
            f"{path}: {len(content):,} bytes are not a whole number of {ROW_BYTES}-byte rows; "
            "remove it and download it again"
        )
    rows = np.frombuffer(bytearray(content), np.uint8).reshape(-1, ROW_BYTES)
    return check_batch(np.ascontiguousarray(rows[:, 1:]), rows[:, 0].astype(np.int64), path)


def read_pickled(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch of the pickled form, a dict with `data` (N, 3072) and `labels`. Raises DataError."""
    batch = read_pickle(path)
    if not isinstance(batch, dict) or not {"data", "labels"} <= set(batch):
        raise DataError(f"{path}: not a CIFAR-10 batch; a dict with 'data' and 'labels' is needed")
    pixels, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    fits = pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == ROW_BYTES - 1 and len(pixels) > 0
    if not fits or labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: pixels of shape {pixels.shape} and labels of shape {labels.shape}; "
            "remove it and download it again"
        )
    return check_batch(pixels, labels.astype(np.int64), path)


def unpack(archive: Path, folder: Path, expected: dict[str, int]) -> None:
    """Write the expected regular files of a tar archive into `folder`.

    Args:
        archive: The archive.
        folder: The folder to write into.
        expected: The largest size in bytes of each file, by name.

    Raises:
        DataError: The archive is broken, or contains a link, a device or a path that leads outside. Nothing is written
            in that case.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = {}
            for member in tar:
                inside = not member.name.startswith("/") and ".." not in Path(member.name).parts
                if not inside or not (member.isreg() or member.isdir()):
                    raise DataError(f"{archive}: '{member.name}' is a link or leads outside; the archive is not used")
                name = Path(member.name).name
                if member.isreg() and name in expected:
                    if member.size > expected[name]:
                        raise DataError(f"{archive}: '{member.name}' is too large; the archive is not used")
                    members[name] = member
            if missing := sorted(set(expected) - set(members)):
                raise DataError(f"{archive}: the file '{missing[0]}' is missing in it; remove it and download it again")
            make_folder(folder)
            for name, member in members.items():
                content = tar.extractfile(member)
                assert content is not None  # regular files have one
                with atomic(folder / name) as temporary:
                    temporary.write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: a broken archive ({error}); remove it and download it again") from error
