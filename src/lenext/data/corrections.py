"""Corrections of labels: a CSV of decisions about samples, applied when data are loaded. The data stay as they are."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import ConfigurationError, DataError, unknown_name
from lenext.foundation.files import csv_text, expand_path, read_regular, sha256
from lenext.foundation.settings import convert

Decision = Literal["keep", "relabel", "drop"]
HEADER = ("split", "sample", "decision", "label")
MAX_BYTES = 64 << 20
CORRECTIONS = "corrections"
"""The key of a dataset's source that says by which file its labels were corrected."""


class Correction(NamedTuple):
    """A decision about a sample.

    Attributes:
        split: Name of the split that the source has it in: train, validation or test.
        sample: Its id, as `audit.csv` names it.
        decision: `keep` it unchanged, `relabel` it, or `drop` it.
        label: The new class of a sample that is relabelled; else empty.
    """

    split: str
    sample: str
    decision: Decision
    label: str = ""


def read_corrections(path: str | Path) -> list[Correction]:
    """Read a file of corrections.

    Raises:
        DataError: The file cannot be read, a line is wrong, or a sample has two decisions.
    """
    path = expand_path(path)
    try:
        rows = list(csv.reader(io.StringIO(read_regular(path, MAX_BYTES).decode("utf-8-sig"), newline="")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file of corrections") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error
    if not rows or tuple(rows[0]) != HEADER:
        raise DataError(f"{path}: a file of corrections begins with the line {','.join(HEADER)}")
    corrections: dict[tuple[str, str], Correction] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(HEADER):
            raise DataError(f"{path}, line {number}: {len(row)} cells where {len(HEADER)} are needed")
        try:
            correction = Correction(row[0], row[1], convert("decision", row[2], Decision), row[3])
        except ConfigurationError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        check_correction(correction, f"{path}, line {number}")
        if corrections.setdefault((row[0], row[1]), correction) is not correction:
            raise DataError(f"{path}, line {number}: {row[0]} {row[1]} has a decision already")
    return list(corrections.values())


def check_correction(correction: Correction, where: str) -> None:
    """Raise DataError for a label that is missing, or that has no effect."""
    if (correction.decision == "relabel") != bool(correction.label):
        needed = "needs a label" if correction.decision == "relabel" else "takes no label"
        raise DataError(f"{where}: {correction.decision} {needed}")


def format_corrections(corrections: Iterable[Correction]) -> str:
    """Return corrections as the text of a file."""
    return csv_text(HEADER, corrections)


def apply_corrections(data: Dataset, path: str | Path) -> Dataset:
    """Return the data with the corrections of a file, and a note that counts them.

    Raises:
        DataError: The file is wrong, it names samples or classes that the data lack, or all samples are dropped.
    """
    corrections = read_corrections(path)
    splits = data.splits()
    for correction in corrections:
        if correction.split not in splits:
            raise DataError(f"{path}: {unknown_name('split', correction.split, splits)}")
        if correction.label and correction.label not in data.classes:
            raise DataError(f"{path}: {unknown_name('class', correction.label, data.classes)}")
    corrected = {
        name: correct_split(
            split, [each for each in corrections if each.split == name], data.classes, f"{path}: {name}"
        )
        for name, split in splits.items()
    }
    counts = Counter(each.decision for each in corrections)
    note = f"corrections: {counts['relabel']:,} relabelled and {counts['drop']:,} dropped samples ({path})"
    source = {**data.source, CORRECTIONS: f"{path} (SHA-256 {sha256(expand_path(path))})"}
    return replace(data, **corrected, source=source, notes=(*data.notes, note))  # type: ignore[arg-type]


def correct_split(split: Split, corrections: Sequence[Correction], classes: Sequence[str], where: str) -> Split:
    """Return a split with its corrections."""
    if not corrections:
        return split
    row_of = {str(sample): row for sample, row in split.row_by_id().items()}
    missing = [each.sample for each in corrections if each.sample not in row_of]
    if missing:
        raise DataError(f"{where} has no sample {missing[0]}; the corrections are of other data")
    labels, is_kept = split.labels.clone(), torch.ones(len(split), dtype=torch.bool)
    for each in corrections:
        if each.decision == "relabel":
            labels[row_of[each.sample]] = classes.index(each.label)
        elif each.decision == "drop":
            is_kept[row_of[each.sample]] = False
    if not is_kept.any():
        raise DataError(f"{where}: all its samples are dropped")
    changed = replace(split, labels=labels)
    return changed if is_kept.all() else changed.take(is_kept.nonzero()[:, 0])
