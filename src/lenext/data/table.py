"""A CSV of square grey pictures: one row a picture, a column of labels (the first, or a named one), then the pixels."""

import csv
import gzip
import math
import re
import warnings
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from lenext.data import Place
from lenext.data.dataset import Dataset
from lenext.foundation.download import fetch_unpublished
from lenext.foundation.errors import DataError
from lenext.foundation.files import sha256

LABEL_NAMES = ("label", "labels", "class", "target", "y")
MOST_BYTES = 4 << 30


def load(url: str, place: Place) -> Dataset:
    """A CSV at an https address, kept under the data folder; the hash of what came is in the data set's source."""
    path = fetch_unpublished(url, place.data_dir / "tables", (".csv", ".csv.gz"), MOST_BYTES, offline=place.offline)
    data = load_path(path, place)
    return replace(data, name=PurePosixPath(url.split("?")[0]).stem, source={**data.source, "url": url})


def load_path(path: Path, place: Place) -> Dataset:
    """Read the table. Raises DataError, with the line where there is one, for whatever is no such table."""
    try:
        with opened(path) as file:
            first = next(csv.reader(file), [])
            header = [cell.strip() for cell in first] if is_header(first) else []
            column = label_column(place.label_column, header, len(first), path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an empty table is told below
                values = np.loadtxt(file, np.float64, delimiter=",", ndmin=2, comments=None)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except ValueError as error:
        raise DataError(f"{path}: {explained(str(error))}") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if len(values) and values.shape[1] != len(first):
        raise DataError(
            f"{path}: line 2: {values.shape[1]} values where line 1 has {len(first)}; complete or remove it"
        )
    if len(first) < 2 or (header and not len(values)):
        raise DataError(f"{path}: no pictures in it; each row is to hold a label and its pixels")
    values = values.reshape(-1, len(first))
    if not header:
        wrong = [at for at, cell in enumerate(first) if not is_number(cell)]
        if wrong:
            raise DataError(f"{path}: line 1: '{first[wrong[0]]}' in column {wrong[0] + 1} is not a number")
        values = np.vstack([np.array(first, np.float64), values])
    labels, pixels = values[:, column], np.delete(values, column, axis=1)
    side = math.isqrt(pixels.shape[1])
    if side * side != pixels.shape[1] or side == 0:
        raise DataError(
            f"{path}: {pixels.shape[1]} pixels a row make no square picture; one label and e.g. 784 are needed"
        )
    check_pixels(pixels, path, 2 if header else 1)
    whole = (labels == np.floor(labels)) & (np.abs(labels) < 2**53)
    if not whole.all():
        row = int(whole.argmin())
        raise DataError(f"{path}: line {row + (2 if header else 1)}: the label {labels[row]:g} is no whole number")
    images = pixels.astype(np.uint8).reshape(-1, side, side)
    names: Any = labels.astype(np.int64)
    if place.classes:
        names = names.astype(np.str_)
    data = Dataset.from_arrays(images, names, classes=place.classes, name=path.stem)
    return replace(data, source={"kind": "CSV", "path": str(path.resolve()), "sha256": sha256(path)})


def opened(path: Path) -> TextIO:
    """As text, with or without a byte order mark, gzipped or not."""
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", newline="", encoding="utf-8-sig"))
    return path.open(newline="", encoding="utf-8-sig")


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


def check_pixels(pixels: NDArray[np.float64], path: Path, first_line: int) -> None:
    """Whole numbers from 0 to 255, all of them."""
    wrong = ~((pixels >= 0) & (pixels <= 255) & (pixels == np.floor(pixels)))
    if wrong.any():
        row, column = (int(at[0]) for at in wrong.nonzero())
        raise DataError(
            f"{path}: line {row + first_line}: the pixel value {pixels[row, column]:g} is no whole number of 0 to 255"
        )


def explained(message: str) -> str:
    """NumPy's complaint about a row, with the line of the file and what to do."""
    if found := re.search(r"could not convert string '(.*)' to float64 at row (\d+), column (\d+)", message):
        hint = "; separate values by commas" if ";" in found[1] else "; labels and pixels are whole numbers"
        return f"line {int(found[2]) + 2}: '{found[1][:20]}' in column {found[3]} is not a number{hint}"
    if found := re.search(r"number of columns changed from (\d+) to (\d+) at row (\d+)", message):
        return (
            f"line {int(found[3]) + 1}: {found[2]} values where the rows above have {found[1]}; complete or remove it"
        )
    return f"not a table of numbers ({message})"
