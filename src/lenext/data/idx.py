"""Load MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) from IDX files, gzipped or not."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data import DATASETS, LoadOptions
from lenext.data.dataset import Dataset, Split
from lenext.data.unpack import open_decompressed
from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import DataError

FILE_PREFIXES = {"train": "train", "test": "t10k"}
MAX_CONTENT_BYTES = 2 << 30
FASHION_CLASSES = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)


def remote_files(mirrors: Sequence[str], files: Sequence[tuple[str, int, str]]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(f"{name}.gz", size, sha256, tuple(f"{mirror}{name}.gz" for mirror in mirrors))
        for name, size, sha256 in files
    )


MNIST_FILES = remote_files(
    MNIST_MIRRORS,
    [
        ("train-images-idx3-ubyte", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
)
FASHION_FILES = remote_files(
    FASHION_MIRRORS,
    [
        ("train-images-idx3-ubyte", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1-ubyte", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3-ubyte", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1-ubyte", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
)


def load_mnist(options: LoadOptions) -> Dataset:
    return load_published("mnist", MNIST_FILES, (), options)


def load_fashion_mnist(options: LoadOptions) -> Dataset:
    return load_published("fashion-mnist", FASHION_FILES, FASHION_CLASSES, options)


def load_published(name: str, files: Sequence[RemoteFile], classes: Sequence[str], options: LoadOptions) -> Dataset:
    """Load a published dataset from its folder below the data folder; download missing files first."""
    folder = options.data_dir / DATASETS[name].folder
    for file in files:
        stem = "-".join(file.name.split("-")[:2])
        if find_file(folder, stem) is None:
            fetch(file, folder, offline=options.offline)
    return read_folder(folder, name, classes, flip_invariant=name == "fashion-mnist")


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Load a folder of IDX files; the classes are Fashion-MNIST's if `fashion` is in its path."""
    folder = find_folder(path) or path
    fashion = "fashion" in str(folder).lower()
    return read_folder(folder, path.name, FASHION_CLASSES if fashion else (), flip_invariant=fashion)


def find_folder(path: Path) -> Path | None:
    """Return the folder, `path` or `path/raw`, that contains IDX training images; None if there is none."""
    return next((folder for folder in (path, path / "raw") if find_file(folder, "train-images")), None)


def find_file(folder: Path, stem: str) -> Path | None:
    """Return the path of a file such as `train-images`: train-images-idx3-ubyte or .idx3-ubyte, gzipped or not."""
    kind = "idx3-ubyte" if stem.endswith("images") else "idx1-ubyte"
    names = (f"{stem}{dash}{kind}{zipped}" for dash in "-." for zipped in (".gz", ""))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_folder(folder: Path, name: str, classes: Sequence[str], flip_invariant: bool) -> Dataset:
    """Read the training images and, if there are any, the test images of a folder. Raises DataError."""
    arrays: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    for part, stem in FILE_PREFIXES.items():
        images, labels = find_file(folder, f"{stem}-images"), find_file(folder, f"{stem}-labels")
        if images is None and labels is None and part == "test":
            continue
        if images is None or labels is None:
            missing = f"{stem}-{'images' if images is None else 'labels'}"
            raise DataError(f"{folder}: the file {missing}-idx...-ubyte is missing; images and labels go together")
        arrays[part] = read_idx(images, 3), read_idx(labels, 1)
        if len(arrays[part][0]) != len(arrays[part][1]):
            raise DataError(f"{images}: {len(arrays[part][0])} images but {len(arrays[part][1])} labels beside it")
    names = tuple(classes) or tuple(str(label) for label in np.unique(arrays["train"][1]).tolist())
    label_of = np.full(256, -1, dtype=np.int64)  # -1: the value is not a label
    label_of[range(len(names)) if classes else [int(name) for name in names]] = range(len(names))
    splits = {}
    for part, (pixels, raw) in arrays.items():
        numbers = label_of[raw]
        if (numbers < 0).any():
            raise DataError(
                f"{folder}: the {part} set has the label {raw[numbers < 0][0]}, which is not one of the classes"
            )
        splits[part] = Split(torch.from_numpy(pixels)[:, None], torch.from_numpy(numbers), np.arange(len(raw)))
    source = {"kind": "IDX", "path": str(folder.resolve())}
    return Dataset(name, names, splits["train"], test=splits.get("test"), source=source, flip_invariant=flip_invariant)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, which must be exactly as large as its header says. Raises DataError."""
    try:
        with open_decompressed(path) as file:
            return parse_idx(file, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken or cut off ({error}); remove it and download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_idx(file: IO[bytes], path: Path, dimensions: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file; its first bytes are wrong")
    if header[2] != 0x08 or header[3] != dimensions:
        raise DataError(
            f"{path}: an IDX file of type {header[2]:#04x} with {header[3]} dimensions; "
            f"unsigned bytes (0x08) with {dimensions} are needed"
        )
    shape = tuple(np.frombuffer(header, ">u4", dimensions, 4).tolist())
    size = int(np.prod(shape, dtype=object))
    if not 0 < size <= MAX_CONTENT_BYTES:
        raise DataError(
            f"{path}: its header says {' x '.join(map(str, shape))} bytes, which is out of range; "
            "remove it and download it again"
        )
    content = file.read(size + 1)
    if len(content) != size:
        actual = "more" if len(content) > size else f"only {len(content):,}"
        raise DataError(
            f"{path}: {size:,} bytes should follow the header, found {actual}; remove it and download it again"
        )
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
