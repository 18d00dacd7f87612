"""Load a CSV of square grey images: each row has a label (the first column, or a named one) and the pixels."""

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
from lenext.data.unpack import open_decompressed
from lenext.foundation.download import fetch_unpublished
from lenext.foundation.errors import DataError
from lenext.foundation.files import sha256
from lenext.foundation.settings import shorten_text

LABEL_NAMES = ("label", "labels", "class", "target", "y")
MAX_DOWNLOAD_BYTES = 4 << 30
NO_IMAGES = "contains no images; each row needs a label and its pixels"
MAX_LINE_CHARACTERS = 4 << 20  # a grey image of 1,024 px a side
CHUNK_CHARACTERS = 16 << 20  # parsed at a time


def load(url: str, options: LoadOptions) -> Dataset:
    """Load a CSV from an https address, cached in the data folder; its hash is in the dataset's source."""
    path = fetch_unpublished(
        url, options.data_dir / "tables", (".csv", ".csv.gz"), MAX_DOWNLOAD_BYTES, offline=options.offline
    )
    data = load_path(path, options)
    return replace(data, name=PurePosixPath(url.split("?")[0]).stem, source={**data.source, "url": url})


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Load a table. Raises DataError, with the line number if there is one."""
    line = 1
    try:
        with open_text(path) as file:
            text = file.readline(MAX_LINE_CHARACTERS)
            check_line(text, 1, path)
            first = next(csv.reader([text]), [])
            header = [cell.strip() for cell in first] if is_header(first) else []
            if len(first) < 2:
                raise DataError(f"{path}: {NO_IMAGES}")
            column = find_label_column(options.label_column, header, len(first), path)
            parts = [] if header else [parse_lines([text], 1, len(first), column, path)]
            line = 2
            while lines := read_lines(file, line, path):
                parts.append(parse_lines(lines, line, len(first), column, path))
                line += len(lines)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not sum(len(labels) for labels, _ in parts):
        raise DataError(f"{path}: {NO_IMAGES}")
    labels, pixels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    side = math.isqrt(pixels.shape[1])
    if side * side != pixels.shape[1] or side == 0:
        raise DataError(
            f"{path}: {pixels.shape[1]} pixels a row do not make a square image; a label and e.g. 784 are needed"
        )
    images = pixels.reshape(-1, side, side)
    names: Any = labels.astype(np.int64)
    if options.classes:
        names = names.astype(np.str_)
    data = Dataset.from_arrays(images, names, classes=options.classes, name=path.stem)
    return replace(data, source={"kind": "CSV", "path": str(path.resolve()), "sha256": sha256(path)})


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 file, with or without a byte order mark, gzipped or not."""
    return io.TextIOWrapper(open_decompressed(path), encoding="utf-8-sig", newline="")


def read_lines(file: TextIO, first: int, path: Path) -> list[str]:
    """Read the next lines, about CHUNK_CHARACTERS in all; `first` is the number of the first. Raises DataError."""
    lines, size = list[str](), 0
    while size < CHUNK_CHARACTERS and (line := file.readline(MAX_LINE_CHARACTERS)):
        check_line(line, first + len(lines), path)
        lines.append(line)
        size += len(line)
    return lines


def check_line(line: str, number: int, path: Path) -> None:
    """Raise DataError for a line that reached the limit."""
    if len(line) == MAX_LINE_CHARACTERS:
        raise DataError(f"{path}: line {number} is too long for a row of pixels; is it a table?")


def is_header(cells: list[str]) -> bool:
    """Return whether most cells are not numbers; a single wrong value does not make a header."""
    return sum(not is_number(cell) for cell in cells) > len(cells) / 2


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def find_label_column(name_or_number: str, header: list[str], columns: int, path: Path) -> int:
    """Return the label column: by name or number; for "auto" the first with a usual name, else the first column."""
    lower = [name.lower() for name in header]
    if name_or_number == "auto":
        return next((lower.index(name) for name in LABEL_NAMES if name in lower), 0)
    if name_or_number.lower() in lower:
        return lower.index(name_or_number.lower())
    if name_or_number.isdigit() and int(name_or_number) < columns:
        return int(name_or_number)
    names = f"its columns are {', '.join(header[:5])}, ..." if header else f"it has no header and {columns} columns"
    raise DataError(f"{path}: there is no column '{name_or_number}' for label_column; {names}")


def parse_lines(
    lines: list[str], first: int, columns: int, column: int, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return labels (N,) and pixels (N, columns - 1) of lines; `first` is the number of the first. Raises DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # if all lines are blank
            values = np.loadtxt(lines, np.float64, delimiter=",", ndmin=2, comments=None).reshape(-1, columns)
    except ValueError as error:
        raise DataError(f"{path}: {explain_error(lines, first, columns, str(error))}") from error
    labels, pixels = values[:, column], np.delete(values, column, axis=1)
    wrong = ~((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels)))
    if wrong.any():
        row, position = (int(indices[0]) for indices in wrong.nonzero())
        raise DataError(
            f"{path}: line {row + first}: the pixel value {pixels[row, position]:g} is not a whole number from 0 to 255"
        )
    integral = (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
    if not integral.all():
        row = int(integral.argmin())
        raise DataError(f"{path}: line {row + first}: the label {labels[row]:g} is not a whole number")
    return labels.astype(np.int64), pixels.astype(np.uint8)


def explain_error(lines: list[str], first: int, columns: int, message: str) -> str:
    """Describe what is wrong with the first line that is not all numbers, and what to do."""
    for number, line in enumerate(lines, first):
        cells = next(csv.reader([line]), [])
        if cells and len(cells) != columns:
            return f"line {number}: {len(cells)} values where line 1 has {columns}; complete or remove it"
        for position, cell in enumerate(cells, 1):
            if not is_number(cell):
                hint = "; separate values by commas" if ";" in cell else "; labels and pixels are whole numbers"
                return f"line {number}: '{shorten_text(cell, 20)}' in column {position} is not a number{hint}"
    return f"not a table of numbers ({shorten_text(message)})"
