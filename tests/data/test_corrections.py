"""Corrections of labels: what they change, what they leave alone, and what is refused."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lenext
from lenext.data.corrections import Correction, apply_corrections, format_corrections, read_corrections
from lenext.data.dataset import Dataset
from lenext.foundation.errors import LenextError

HEAD = "split,sample,decision,label\n"


@pytest.fixture
def file(tmp_path: Path, few: Dataset) -> Path:
    """Return a file that relabels the first training sample, drops the second and a test sample, keeps the third."""
    first, second, third = few.train.ids[:3].tolist()
    path = tmp_path / "corrections.csv"
    path.write_text(
        format_corrections(
            [
                Correction("train", str(first), "relabel", "9"),
                Correction("train", str(second), "drop"),
                Correction("train", str(third), "keep"),
                Correction("test", str(few.test.ids[5]), "drop"),  # type: ignore[union-attr]
            ]
        )
    )
    return path


def test_labels_are_changed_and_samples_dropped(few: Dataset, file: Path) -> None:
    before = few.train.labels.clone()
    data = apply_corrections(few, file)
    assert data.train.labels[0] == 9
    assert data.train.ids.tolist() == [few.train.ids[0], *few.train.ids[2:]]
    assert torch.equal(data.train.labels[1:], before[2:])
    assert torch.equal(data.train.images[1:], few.train.images[2:])  # type: ignore[index]
    assert data.test is not None
    assert len(data.test) == 39
    assert "1 relabelled and 2 dropped samples" in data.notes[-1]
    assert torch.equal(few.train.labels, before), "the data were changed"


def test_a_file_is_read_as_it_was_written(file: Path) -> None:
    corrections = read_corrections(file)
    assert [each.decision for each in corrections] == ["relabel", "drop", "keep", "drop"]
    assert format_corrections(corrections) == file.read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sample,label\n", "begins with the line split,sample,decision,label"),
        ("", "begins with the line"),
        (HEAD + "train,0,erase,\n", "line 2: decision=erase"),
        (HEAD + "train,0,relabel,\n", "line 2: relabel needs a label"),
        (HEAD + "train,0,drop,3\n", "line 2: drop takes no label"),
        (HEAD + "train,0\n", "line 2: 2 cells"),
        (HEAD + "train,0,drop,\ntrain,0,keep,\n", "line 3: train 0 has a decision already"),
        (HEAD + "trian,0,drop,\n", "did you mean 'train'"),
        (HEAD + "train,0,relabel,ten\n", "ten"),
        (HEAD + "train,99999,drop,\n", "has no sample 99999"),
    ],
)
def test_a_wrong_file_is_refused(few: Dataset, tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(text)
    with pytest.raises(LenextError) as error:
        apply_corrections(few, path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)


def test_a_split_is_not_emptied(few: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(format_corrections(Correction("train", str(each), "drop") for each in few.train.ids))
    with pytest.raises(LenextError, match="train: all its samples are dropped"):
        apply_corrections(few, path)


def test_a_run_with_corrections_resumes_and_reports(few: Dataset, file: Path, tmp_path: Path) -> None:
    def watch(_: object) -> None:
        raise KeyboardInterrupt

    options = {"epochs": 2, "corrections": file, "quiet": True}
    whole = lenext.train("lenet", few, runs_dir=tmp_path, name="whole", **options)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        lenext.train("lenet", few, runs_dir=tmp_path, name="parts", watch=watch, **options)  # type: ignore[arg-type]
    parts = lenext.resume(tmp_path / "parts", data=few, quiet=True)
    assert whole.weights("last").read_bytes() == parts.weights("last").read_bytes()
    assert "corrections.csv" in whole.read_json("split.json")["source"]["corrections"]
    assert (whole.path / "report.html").is_file()


def test_a_run_keeps_its_corrections(file: Path, tmp_path: Path) -> None:
    """A file that changes later changes no run."""
    file.write_text(HEAD + "train,3,relabel,9\n")
    run = lenext.train("lenet", "digits", epochs=1, corrections=file, runs_dir=tmp_path, quiet=True)
    file.write_text(HEAD + "train,3,drop,\n")
    assert run.corrections.read_text() == HEAD + "train,3,relabel,9\n"
    lenext.val(run, split="train", quiet=True)
    resumed = lenext.resume(run, epochs=2, quiet=True)
    assert len(resumed.records) == 2
    run.corrections.write_text(file.read_text())
    with pytest.raises(LenextError, match="its train samples have changed since the run was made"):
        lenext.val(run, split="train", quiet=True)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, unique=True))
def test_any_sample_name_is_kept(names: list[str]) -> None:
    """Also names with line ends, quotes and commas."""
    corrections = [Correction("train", name, "drop") for name in names]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "corrections.csv")
        path.write_bytes(format_corrections(corrections).encode())
        assert read_corrections(path) == corrections
