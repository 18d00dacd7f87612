"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) in the IDX format, gzipped or not."""

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
from lenext.data.unpack import unpacked
from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import DataError

PARTS = {"train": "train", "test": "t10k"}
MOST_BYTES = 2 << 30
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


def remote(mirrors: Sequence[str], files: Sequence[tuple[str, int, str]]) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(n + ".gz", size, sha, tuple(m + n + ".gz" for m in mirrors)) for n, size, sha in files)


MNIST_FILES = remote(
    MNIST_MIRRORS,
    [
        ("train-images-idx3-ubyte", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
)
FASHION_FILES = remote(
    FASHION_MIRRORS,
    [
        ("train-images-idx3-ubyte", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1-ubyte", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3-ubyte", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1-ubyte", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
)


def load_mnist(options: LoadOptions) -> Dataset:
    return published("mnist", MNIST_FILES, (), options)


def load_fashion_mnist(options: LoadOptions) -> Dataset:
    return published("fashion-mnist", FASHION_FILES, FASHION_CLASSES, options)


def published(name: str, files: Sequence[RemoteFile], classes: Sequence[str], options: LoadOptions) -> Dataset:
    """Used where it lies under the data folder, in torchvision's layout or straight in it; else fetched."""
    home = options.data_dir / DATASETS[name].folder
    for file in files:
        stem = "-".join(file.name.split("-")[:2])
        if find_file(home, stem) is None:
            fetch(file, home, offline=options.offline)
    return read_folder(home, name, classes, flip_invariant=name == "fashion-mnist")


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """A folder of IDX files; the classes are Fashion-MNIST's when the folder's name says so."""
    folder = find_folder(path) or path
    fashion = "fashion" in str(folder).lower()
    return read_folder(folder, path.name, FASHION_CLASSES if fashion else (), flip_invariant=fashion)


def find_folder(path: Path) -> Path | None:
    """The folder at or right under `path` that has IDX training images."""
    return next((at for at in (path, path / "raw") if find_file(at, "train-images")), None)


def find_file(folder: Path, stem: str) -> Path | None:
    """`train-images` as train-images-idx3-ubyte, train-images.idx3-ubyte, either of them gzipped."""
    kind = "idx3-ubyte" if stem.endswith("images") else "idx1-ubyte"
    names = (f"{stem}{dash}{kind}{zipped}" for dash in "-." for zipped in (".gz", ""))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_folder(folder: Path, name: str, classes: Sequence[str], flip_invariant: bool) -> Dataset:
    """The training and, where there are any, the test images of a folder."""
    arrays: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    for part, stem in PARTS.items():
        images, labels = find_file(folder, f"{stem}-images"), find_file(folder, f"{stem}-labels")
        if images is None and labels is None and part == "test":
            continue
        if images is None or labels is None:
            lacking = f"{stem}-{'images' if images is None else 'labels'}"
            raise DataError(f"{folder}: the file {lacking}-idx...-ubyte is missing; images and labels go together")
        arrays[part] = read_idx(images, 3), read_idx(labels, 1)
        if len(arrays[part][0]) != len(arrays[part][1]):
            raise DataError(f"{images}: {len(arrays[part][0])} images but {len(arrays[part][1])} labels beside it")
    known = tuple(classes) or tuple(str(label) for label in np.unique(arrays["train"][1]).tolist())
    place = np.full(256, -1, dtype=np.int64)
    place[range(len(known)) if classes else [int(label) for label in known]] = range(len(known))
    splits = {}
    for part, (pixels, raw) in arrays.items():
        numbers = place[raw]
        if (numbers < 0).any():
            raise DataError(
                f"{folder}: the {part} set has the label {raw[numbers < 0][0]}, which is none of the classes"
            )
        splits[part] = Split(torch.from_numpy(pixels)[:, None], torch.from_numpy(numbers), np.arange(len(raw)))
    source = {"kind": "IDX", "path": str(folder.resolve())}
    return Dataset(name, known, splits["train"], test=splits.get("test"), source=source, flip_invariant=flip_invariant)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: as large as its header says, not a byte more or less. Raises DataError."""
    try:
        with unpacked(path) as file:
            return parse_idx(file, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken or cut off ({error}); remove it and fetch it again") from error
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
    if not 0 < size <= MOST_BYTES:
        raise DataError(f"{path}: its header says {' x '.join(map(str, shape))} bytes, which no such file has")
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content):,}"
        raise DataError(f"{path}: {size:,} bytes should follow the header, found {found}; remove it and fetch it again")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
