"""Write datasets in their published formats, with synthetic images."""

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_idx_folder(folder: Path, *, zipped: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Write 20 images of 28 px in both splits; return the training images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
            content = header + array.tobytes()
            path = folder / (name + (".gz" if zipped else ""))
            path.write_bytes(gzip.compress(content) if zipped else content)
    return images, labels


def write_cifar(folder: Path, *, pickled: bool, count: int = 10) -> tuple[NDArray[np.uint8], list[int]]:
    """Write six batches of a few images; return the rows and labels of each batch."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [number % 10 for number in range(count)]
    batch: dict[str, Any] = {"batch_label": "made up", "labels": labels, "data": rows, "filenames": ["x.png"] * count}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        if pickled:
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            table = np.hstack([np.array(labels, dtype=np.uint8)[:, None], rows])
            (folder / (name + ".bin")).write_bytes(table.tobytes())
    return rows, labels


def write_table(path: Path, rows: list[list[Any]], header: list[str] | None = None) -> Path:
    """Write a CSV."""
    lines = ([",".join(header)] if header else []) + [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path
