from pathlib import Path

import numpy as np
import pytest
import torch

import lenext
from lenext.foundation.errors import DataError
from tests.data.makers import write_table

ROWS = [[label, *[(label * 16 + pixel) % 256 for pixel in range(16)]] for label in (3, 7, 3, 7, 7)]
HEADER = ["label", *[f"pixel{number}" for number in range(16)]]


@pytest.mark.parametrize("header", [HEADER, None])
def test_label_first(tmp_path: Path, header: list[str] | None) -> None:
    data = lenext.load(write_table(tmp_path / "t.csv", ROWS, header))
    assert data.shape == (1, 4, 4)
    assert data.classes == ("3", "7")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1]
    assert np.array_equal(data.train.images[torch.arange(5)].numpy().reshape(5, 16), np.array(ROWS)[:, 1:])
    assert len(data.source["sha256"]) == 64


@pytest.mark.parametrize("name_or_number", ["digit", "16", "auto"])
def test_another_column_by_name_or_number(tmp_path: Path, name_or_number: str) -> None:
    rows = [[*row[1:], row[0]] for row in ROWS]
    header = [*HEADER[1:], "digit" if name_or_number != "auto" else "Class"]
    data = lenext.load(write_table(tmp_path / "t.csv", rows, header), label_column=name_or_number)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1]


def test_a_second_table_is_the_test_set_and_matches_by_name(tmp_path: Path) -> None:
    train = write_table(tmp_path / "train.csv", ROWS, HEADER)
    data = lenext.load(train, test=write_table(tmp_path / "test.csv", ROWS[1:2], HEADER))
    assert data.test is not None
    assert data.test.labels.tolist() == [1]
    stranger = write_table(tmp_path / "stranger.csv", [[9, *ROWS[0][1:]]], HEADER)
    with pytest.raises(DataError, match="label '9' is none of the classes: 3, 7"):
        lenext.load(train, test=stranger)


def changed(row: int, column: int, value: object) -> list[list[object]]:
    rows: list[list[object]] = [list(row) for row in ROWS]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([*ROWS[:2], ROWS[2][:-1], *ROWS[3:]], "line 4: 16 values where line 1 has 17"),
        ([ROWS[0][:-1], *ROWS[1:]], "line 2: 16 values where line 1 has 17"),
        ([ROWS[0][:-1]], "line 2: 16 values where line 1 has 17"),
        (changed(2, 5, "x"), "line 4: 'x' in column 6 is not a number"),
        (changed(2, 5, ""), "line 4: '' in column 6 is not a number"),
        (changed(2, 5, 256), "line 4: the pixel value 256 is not a whole number from 0 to 255"),
        (changed(2, 5, -1), "line 4: the pixel value -1"),
        (changed(2, 5, 0.5), "line 4: the pixel value 0.5"),
        (changed(2, 5, "nan"), "line 4: the pixel value nan"),
        (changed(2, 0, 1.5), "line 4: the label 1.5 is not a whole number"),
        ([], "contains no images"),
        ([row[:3] for row in ROWS], None),
    ],
)
def test_a_wrong_table_is_one_line_with_the_line(tmp_path: Path, rows: list[list[object]], reason: str | None) -> None:
    header = HEADER if reason else HEADER[:3]
    with pytest.raises(DataError, match=reason or "2 pixels a row do not make a square image") as caught:
        lenext.load(write_table(tmp_path / "t.csv", rows, header))
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_a_byte_order_mark_is_no_header(tmp_path: Path) -> None:
    for header in (HEADER, None):
        path = write_table(tmp_path / "t.csv", ROWS, header)
        path.write_text(path.read_text(), encoding="utf-8-sig")
        assert len(lenext.load(path, label_column="label" if header else "auto").train) == len(ROWS)


def test_a_wrong_value_in_the_first_row_makes_no_header(tmp_path: Path) -> None:
    for value in ("x", ""):
        with pytest.raises(DataError, match=f"line 1: '{value}' in column 6 is not a number"):
            lenext.load(write_table(tmp_path / "t.csv", changed(0, 5, value)))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="contains no images"):
        lenext.load(tmp_path / "empty.csv")
    with pytest.raises(DataError, match="is not a whole number"):
        lenext.load(write_table(tmp_path / "t.csv", changed(1, 0, "1e300")))


def test_an_unknown_label_column_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'digit'"):
        lenext.load(write_table(tmp_path / "t.csv", ROWS, HEADER), label_column="digit")


def test_binary_rubbish_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"t\.csv"):
        lenext.load(tmp_path / "t.csv")
