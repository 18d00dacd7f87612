"""The audit finds planted faults, and does not change the data."""

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lenext
from lenext.data import folder, image_files
from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import ConfigurationError, DataError, LenextError
from lenext.workflows.audit import KINDS, Audit, audit

CLASSES = ("circle", "cross", "stripes", "frame")


def draw(kind: int, seed: int, side: int = 48) -> Image.Image:
    """A noisy image of one of four shapes, anywhere, in any colour."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    top, left, size = (*draw.integers(10, 38, 2).tolist(), int(draw.integers(6, 10)))
    y, x = rows - top, columns - left
    shape = (
        y**2 + x**2 < size**2,
        ((abs(y) < 3) | (abs(x) < 3)) & (abs(y) < size) & (abs(x) < size),
        ((y // 3) % 2 == 0) & (abs(y) < size) & (abs(x) < size),
        (np.maximum(abs(y), abs(x)) < size) & (np.maximum(abs(y), abs(x)) > size - 4),
    )[kind]
    pixels = draw.integers(20, 80, (side, side, 3)) + shape[..., None] * draw.integers(90, 170, 3)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    """800 images with 50 faults: 10 copies across splits, 5 of them recompressed, 30 swapped labels (5 % of the
    training images), 5 broken files, 3 rotated, 2 odd."""
    root, faults = tmp_path_factory.mktemp("audit") / "shapes", dict[str, set[str]]()
    paths: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
    for split, count in (("train", 150), ("test", 50)):
        for kind, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                path = root / split / name / f"{number:03d}.png"
                draw(kind, 10_000 * (split == "test") + 1000 * kind + number).save(path)
                paths[split].append((path, kind))
    choose = np.random.default_rng(1)
    chosen = choose.permutation(len(paths["train"])).tolist()

    def noted(kind: str, path: Path) -> None:
        faults.setdefault(kind, set()).add(str(path.relative_to(root)))

    for at in chosen[:30]:
        path, kind = paths["train"][at]
        swapped = root / "train" / CLASSES[(kind + 1 + at % 3) % 4] / f"swapped{at}.png"
        path.rename(swapped)
        noted("suspect label", swapped)
    for number, at in enumerate(chosen[30:40]):
        path, kind = paths["train"][at]
        copy = root / "test" / CLASSES[kind] / f"copy{at}.{'png' if number < 5 else 'jpg'}"
        Image.open(path).save(copy, **({} if number < 5 else {"quality": 90}))
        noted("across splits", copy)
    for at in chosen[40:45]:
        path, _ = paths["train"][at]
        path.write_bytes(path.read_bytes()[:300])
        noted("broken", path)
    for at in chosen[45:48]:
        path, _ = paths["train"][at]
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(path).save(path.with_suffix(".jpg"), exif=exif, quality=95)
        path.unlink()
        noted("rotated", path.with_suffix(".jpg"))
    wide, grey = (paths["train"][at][0] for at in chosen[48:50])
    Image.open(wide).resize((400, 40)).save(wide)
    noted("odd size", wide)
    Image.open(grey).convert("L").save(grey)
    noted("odd mode", grey)
    assert sum(map(len, faults.values())) == 50
    return root, faults


@pytest.fixture(scope="module")
def report(planted: tuple[Path, dict[str, set[str]]], tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return audit(planted[0], out=tmp_path_factory.mktemp("out") / "audit", epochs=25)


@pytest.mark.parametrize("kind", ["suspect label", "across splits", "broken", "rotated", "odd size", "odd mode"])
def test_planted_faults_are_found(planted: tuple[Path, dict[str, set[str]]], report: Audit, kind: str) -> None:
    """All planted faults are reported, with at most the allowed number of false alarms.

    Of the 30 swapped labels, three may be missed: whether a network doubts a small frame depends on its seed and on
    the last bits of the machine's arithmetic. With other seeds none, one or two are missed.
    """
    planted_samples, reported = planted[1][kind], {finding.sample for finding in report.of(kind)}
    missed = planted_samples - reported
    assert len(missed) <= (3 if kind == "suspect label" else 0), missed
    allowed = {"suspect label": 30, "across splits": 3}  # of 600 training images, and 200 test images
    assert len(reported - planted_samples) <= allowed.get(kind, 0), reported - planted_samples


def test_files_are_read_once_and_not_changed_and_json_counts_the_faults(
    planted: tuple[Path, dict[str, set[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The folder is listed once, each image decoded once, no file changed; one search shows all of it."""
    from lenext.__main__ import main

    def state() -> dict[Path, str]:
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in planted[0].rglob("*") if path.is_file()}

    before, listed, decoded = state(), list[Path](), list[str]()
    list_files, decode = folder.find_split_files, image_files.decode_image
    monkeypatch.setattr(folder, "find_split_files", lambda path: listed.append(path) or list_files(path))  # type: ignore[func-returns-value]
    monkeypatch.setattr(image_files, "decode_image", lambda path, *args: decoded.append(path) or decode(path, *args))  # type: ignore[func-returns-value]
    assert main(["audit", str(planted[0]), "--no-labels", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["broken"] == 5
    assert listed == [planted[0]]
    assert sorted(decoded) == sorted(str(path) for path in planted[0].rglob("*.*"))
    assert state() == before


def test_the_table_and_the_page(report: Audit) -> None:
    with report.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["sample"]) for row in rows] == [
        (finding.kind, finding.sample) for finding in report.findings
    ]
    kinds = [finding.kind for finding in report.findings]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    page = report.page.read_text()
    assert all(f"{kind.capitalize()} <span" in page for kind in set(kinds))
    assert page.count("data:image/") >= 30


def test_clean_data_give_little(digits: Dataset, tmp_path: Path) -> None:
    report = audit("digits", out=tmp_path, labels=False)
    assert not report.of("few images")
    assert not report.of("duplicate")
    assert len(report.findings) <= 1  # of only 8 x 8 pixels, two may look nearly the same


def noise(count: int, labels: int = 1) -> Split:
    """Images of noise, which are like no others."""
    images = torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Split(images, torch.arange(count) % labels, np.arange(count))


def duplicates(train: Split, test: Split, out: Path) -> dict[tuple[str, str], str]:
    """Return the findings about duplicates: kind and sample, with their description."""
    report = audit(Dataset("noise", ("a", "b"), train, test=test), out=out, labels=False)
    kinds = ("duplicate", "across splits", "contradiction", "near duplicate")
    return {
        (finding.kind, f"{finding.split} {finding.sample}"): finding.description
        for finding in report.findings
        if finding.kind in kinds
    }


def test_one_changed_bit_does_not_hide_a_leak(tmp_path: Path) -> None:
    """100 of 100 test images that are training images but for one bit are found."""
    train = noise(200)
    images = train.images[torch.arange(100)].clone()
    for row in range(100):
        images[row, row % 3, row % 24, (7 * row) % 24] ^= 1
    pairs = duplicates(train, Split(images, train.labels[:100], np.arange(100)), tmp_path)
    assert set(pairs) == {("across splits", f"test {row}") for row in range(100)}
    assert all(f"nearly the same as {row} (train, a)" in pairs["across splits", f"test {row}"] for row in range(100))


def test_a_group_of_equal_images_is_reported_once(tmp_path: Path) -> None:
    """Each of four equal images but the first is reported once, beside the first."""
    train = noise(60)
    rows = torch.tensor([5, 5, 5])
    pairs = duplicates(train, Split(train.images[rows], train.labels[rows], np.arange(3)), tmp_path)
    assert pairs == {("across splits", f"test {row}"): "the same as 5 (train, a); this one: a" for row in range(3)}


def test_the_change_of_a_copy_is_reported(tmp_path: Path) -> None:
    train = noise(60, labels=2)
    images = train.images[torch.arange(4)].clone()
    images[0] = images[0].flip(2)
    images[1] = (images[1] * 0.8).to(torch.uint8)
    images[2] = (images[2].float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0).to(torch.uint8)
    pairs = duplicates(train, Split(images, 1 - train.labels[:4], np.arange(4)), tmp_path)
    assert pairs == {
        ("contradiction", "test 0"): "nearly the same as 0 (train, a), mirrored; this one: b",
        ("contradiction", "test 1"): "nearly the same as 1 (train, b), another brightness; this one: a",
        ("contradiction", "test 2"): "nearly the same as 2 (train, a), grey; this one: b",
        ("contradiction", "test 3"): "the same as 3 (train, b); this one: a",
    }


def test_the_page_shows_both_images_of_a_pair(tmp_path: Path) -> None:
    train = noise(40)
    report = audit(Dataset("noise", ("a", "b"), train, test=train.take(torch.tensor([7]))), out=tmp_path, labels=False)
    (content,) = re.findall(r'src="data:image/png;base64,([^"]+)"', report.page.read_text())
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(content))))
    image = train.images[torch.tensor([7])][0].numpy().transpose(1, 2, 0)
    assert (pixels[:, :24] == image).all()
    assert (pixels[:, -24:] == image).all()


def test_small_classes_and_contradictions(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (226, 1, 16, 16), generator=draw, dtype=torch.uint8)
    labels = torch.tensor([0] * 210 + [1] * 12 + [2] * 4)
    images[215] = images[5]
    data = Dataset("small", ("many", "less", "few"), Split(images, labels, np.arange(226)))
    report = audit(data, out=tmp_path, labels=False)
    assert [(finding.kind, finding.sample) for finding in report.findings] == [
        ("contradiction", "215"), ("few images", "few"), ("imbalance", "less")
    ]  # fmt: skip


def test_what_is_no_data_is_one_line(tmp_path: Path, photos: Callable[..., Path]) -> None:
    with pytest.raises(DataError):
        audit(tmp_path / "nothing", out=tmp_path)
    root = photos("up", "down", count=4)
    assert lenext.audit(root, out=tmp_path / "a").of("few images")  # too few to doubt labels


@pytest.mark.parametrize("option", [{"epochs": 12}, {"network": "lenet_32px"}, {"suspect": "sensitive"}])
def test_options_of_the_training_need_labels(
    option: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of the training are refused without labels even at their defaults: they would have no effect."""
    from lenext.__main__ import main

    with pytest.raises(ConfigurationError, match=f"{next(iter(option))} has no effect without labels"):
        audit("digits", out=tmp_path, labels=False, **option)
    words = [word for name, value in option.items() for word in (f"--{name}", str(value))]
    assert main(["audit", "digits", "--no-labels", *words, "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert not (tmp_path / "x").exists()


def test_an_unknown_rule_for_suspect_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'precise'"):
        audit("digits", out=tmp_path, suspect="precize")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"network": "lnet_32px"}, "did you mean"),
        ({"network": "missing.py:Net"}, "missing.py"),
        ({"network": "alexnet"}, "labels are checked at 32 px"),
        ({"epochs": 0}, "epochs=0"),
        ({"out": "file/below"}, "cannot make the folder"),
    ],
)
def test_what_is_refused_is_refused_before_the_long_work(
    option: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()

    def search_duplicates(_: Dataset) -> None:
        raise AssertionError("the search for duplicates has begun")

    monkeypatch.setattr("lenext.workflows.audit.find_duplicates", search_duplicates)
    with pytest.raises(LenextError, match=message):
        audit("digits", **{"out": "out", **option})
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_user_defined_network_may_judge_the_labels(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self, in_channels, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))\n"
    )
    rows = torch.arange(200)
    data = Dataset("part", digits.classes, digits.train.take(rows))
    assert "accuracy" in audit(data, out=tmp_path / "out", network=f"{path}:Net", epochs=1).notes[0]
