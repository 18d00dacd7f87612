"""A CSV of square grey images: one row an image, a column of labels (the first, or a named one), then the pixels."""

import csv
import io
import math
import warnings
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset
from lenext.data.unpack import unpacked
from lenext.foundation.download import fetch_unpublished
from lenext.foundation.errors import DataError
from lenext.foundation.files import sha256
from lenext.foundation.settings import shorten_text

LABEL_NAMES = ("label", "labels", "class", "target", "y")
MOST_BYTES = 4 << 30
EMPTY = "no images in it; each row is to hold a label and its pixels"
LONGEST_LINE = 4 << 20  # characters: a grey image of 1,024 px a side
CHUNK = 16 << 20  # characters that are made numbers at a time


def load(url: str, options: LoadOptions) -> Dataset:
    """A CSV at an https address, kept under the data folder; the hash of what came is in the data set's source."""
    path = fetch_unpublished(url, options.data_dir / "tables", (".csv", ".csv.gz"), MOST_BYTES, offline=options.offline)
    data = load_path(path, options)
    return replace(data, name=PurePosixPath(url.split("?")[0]).stem, source={**data.source, "url": url})


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Read the table. Raises DataError, with the line where there is one, for whatever is no such table."""
    line = 1
    try:
        with opened(path) as file:
            text = file.readline(LONGEST_LINE)
            check_line(text, 1, path)
            first = next(csv.reader([text]), [])
            header = [cell.strip() for cell in first] if is_header(first) else []
            if len(first) < 2:
                raise DataError(f"{path}: {EMPTY}")
            column = label_column(options.label_column, header, len(first), path)
            parts = [] if header else [divided([text], 1, len(first), column, path)]
            line = 2
            while lines := read_lines(file, line, path):
                parts.append(divided(lines, line, len(first), column, path))
                line += len(lines)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not sum(len(labels) for labels, _ in parts):
        raise DataError(f"{path}: {EMPTY}")
    labels, pixels = (np.concatenate(some) for some in zip(*parts, strict=True))
    side = math.isqrt(pixels.shape[1])
    if side * side != pixels.shape[1] or side == 0:
        raise DataError(
            f"{path}: {pixels.shape[1]} pixels a row make no square image; one label and e.g. 784 are needed"
        )
    images = pixels.reshape(-1, side, side)
    names: Any = labels.astype(np.int64)
    if options.classes:
        names = names.astype(np.str_)
    data = Dataset.from_arrays(images, names, classes=options.classes, name=path.stem)
    return replace(data, source={"kind": "CSV", "path": str(path.resolve()), "sha256": sha256(path)})


def opened(path: Path) -> TextIO:
    """As text, with or without a byte order mark, gzipped or not."""
    return io.TextIOWrapper(unpacked(path), encoding="utf-8-sig", newline="")


def read_lines(file: TextIO, first: int, path: Path) -> list[str]:
    """Return the next lines, about CHUNK characters in all; `first` is the number of the first of them. DataError."""
    lines, size = list[str](), 0
    while size < CHUNK and (line := file.readline(LONGEST_LINE)):
        check_line(line, first + len(lines), path)
        lines.append(line)
        size += len(line)
    return lines


def check_line(line: str, number: int, path: Path) -> None:
    """Raise DataError for a line that was cut off."""
    if len(line) == LONGEST_LINE:
        raise DataError(f"{path}: line {number} is longer than any row of pixels; is it a table?")


def is_header(cells: list[str]) -> bool:
    """Names rather than numbers, most of them; a single wrong value makes no header."""
    return sum(not is_number(cell) for cell in cells) > len(cells) / 2


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def label_column(wanted: str, header: list[str], columns: int, path: Path) -> int:
    """Which column has the labels: as asked for by name or number, else by its usual names, else the first."""
    lower = [name.lower() for name in header]
    if wanted == "auto":
        return next((lower.index(name) for name in LABEL_NAMES if name in lower), 0)
    if wanted.lower() in lower:
        return lower.index(wanted.lower())
    if wanted.isdigit() and int(wanted) < columns:
        return int(wanted)
    names = f"its columns are {', '.join(header[:5])}, ..." if header else f"it has no header and {columns} columns"
    raise DataError(f"{path}: there is no column '{wanted}' for label_column; {names}")


def divided(
    lines: list[str], first: int, columns: int, column: int, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels (N,) and pixels (N, columns - 1) of some lines; `first` is the number of the first of them. DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of lines that are all blank
            values = np.loadtxt(lines, np.float64, delimiter=",", ndmin=2, comments=None).reshape(-1, columns)
    except ValueError as error:
        raise DataError(f"{path}: {explained(lines, first, columns, str(error))}") from error
    labels, pixels = values[:, column], np.delete(values, column, axis=1)
    wrong = ~((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels)))
    if wrong.any():
        row, place = (int(at[0]) for at in wrong.nonzero())
        raise DataError(
            f"{path}: line {row + first}: the pixel value {pixels[row, place]:g} is no whole number of 0 to 255"
        )
    whole = (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
    if not whole.all():
        row = int(whole.argmin())
        raise DataError(f"{path}: line {row + first}: the label {labels[row]:g} is no whole number")
    return labels.astype(np.int64), pixels.astype(np.uint8)


def explained(lines: list[str], first: int, columns: int, message: str) -> str:
    """What is wrong with the first of the lines that is none of numbers, and what to do."""
    for number, line in enumerate(lines, first):
        cells = next(csv.reader([line]), [])
        if cells and len(cells) != columns:
            return f"line {number}: {len(cells)} values where line 1 has {columns}; complete or remove it"
        for at, cell in enumerate(cells, 1):
            if not is_number(cell):
                hint = "; separate values by commas" if ";" in cell else "; labels and pixels are whole numbers"
                return f"line {number}: '{shorten_text(cell, 20)}' in column {at} is not a number{hint}"
    return f"not a table of numbers ({shorten_text(message)})"
