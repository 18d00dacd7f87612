"""`audit`: what is wrong with data, before they are trained on. Nothing is changed but the audit's own files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lenext.data import DATASETS, load
from lenext.data.dataset import Dataset, Split
from lenext.data.duplicates import exact, near
from lenext.data.folder import gather
from lenext.data.pictures import open_picture
from lenext.foundation.device import Compute
from lenext.foundation.errors import DataError, LenextError
from lenext.foundation.files import csv_text, expanded, make_folder, write_atomic
from lenext.foundation.progress import count_bar
from lenext.foundation.seeds import generator
from lenext.models import create, find_variant
from lenext.reporting.page import Gallery, Shown, address, render
from lenext.training.evaluation import evaluate_split
from lenext.training.loop import fit, preprocessing
from lenext.training.recipe import Recipe

ORIENTATION = 0x0112  # the EXIF tag
SHAPES = 3.0  # times as long as wide, or a third as large as the usual: odd
FEW = 10  # pictures of a class that are too few to learn from
IMBALANCE = 10  # times as many pictures as another class
FOLDS = 3
SURE, DOUBT = 0.5, 0.5  # of the mean probability that pictures of a class are given for it
RELIABLE, FEW_DOUBTS = 0.85, 0.01
"""Networks that are right more rarely than this on pictures they have not seen are believed in the share of pictures
alone that they doubt most: beyond it, most doubts are mistakes of their own."""
SHOWN = 24  # pictures of a kind on the page
ABOUT = {
    "broken": "Files that cannot be read.",
    "odd size": "Far longer than wide, or far smaller than the others.",
    "odd mode": "Other colours than nearly all the others have.",
    "rotated": "Turned by their EXIF orientation; lenext turns them, other programs may not.",
    "duplicate": "Equal to the pixel, within a split.",
    "across splits": "Nearly or quite the same picture in two splits: its figures flatter.",
    "contradiction": "Nearly or quite the same picture under two classes.",
    "near duplicate": "Nearly the same picture, within a split.",
    "few pictures": "Classes with hardly any pictures.",
    "imbalance": "Classes with far fewer pictures than the largest.",
    "suspect label": "Networks that were trained without a picture are sure that it is of another class.",
}
"""The kinds of findings, in the order in which they are told."""


@dataclass(frozen=True)
class Finding:
    """One thing that may be wrong: of which kind, where (a split, a sample's id), what it is, and how sure (0 to 1)."""

    kind: str
    split: str
    sample: str
    what: str
    score: float = 1.0


@dataclass(frozen=True)
class Audit:
    """All findings, and the files that tell them."""

    findings: tuple[Finding, ...]
    table: Path
    page: Path
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> list[Finding]:
        return [one for one in self.findings if one.kind == kind]


def audit(
    data: str | Path | Dataset,
    *,
    out: str | Path = "audit",
    labels: bool = True,
    network: str = "lenet_32px",
    epochs: int = 12,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Audit:
    """Look through data, and write `audit.csv` and `audit.html` into the folder `out`.

    Broken files, odd sizes and modes, EXIF rotation, duplicates within and across splits, classes that are small. With
    `labels`, also labels that three networks, each trained on two thirds of the training pictures for `epochs`, do not
    believe on the third that they have not seen (confident learning, arXiv:1911.00068). Raises DataError.
    """
    findings: list[Finding] = []
    if not isinstance(data, Dataset):
        path = expanded(data)
        if str(data) not in DATASETS and path.is_dir() and is_picture_folder(path):
            findings += look_at_files(path)
        size: Literal["auto"] | int = 64 if findings or (path.is_dir() and is_picture_folder(path)) else "auto"
        data = load(data, data_dir=data_dir, offline=offline, picture_size=size, on_bad_image="skip")
    findings += look_at_classes(data)
    findings += look_for_duplicates(data)
    notes: list[str] = []
    if labels:
        doubts, note = doubt_labels(data, network, epochs)
        findings += doubts
        notes += [note] if note else []
    order = list(ABOUT)
    findings.sort(key=lambda one: (order.index(one.kind), -one.score))
    folder = make_folder(expanded(out))
    write_atomic(folder / "audit.csv", as_csv(findings))
    write_atomic(folder / "audit.html", as_page(findings, data, notes))
    return Audit(tuple(findings), folder / "audit.csv", folder / "audit.html", tuple(notes))


def is_picture_folder(path: Path) -> bool:
    """Whether it has pictures in class folders."""
    try:
        return bool(gather(path)[0]["train"].paths)
    except LenextError:
        return False


def look_at_files(path: Path) -> Iterator[Finding]:
    """What the files of pictures say of themselves."""
    piles, _ = gather(path)
    seen: list[tuple[str, str, str, int, int]] = []
    for pile in piles.values():
        for label, name in enumerate(pile.classes):
            if label not in pile.labels:
                yield Finding("few pictures", pile.name, name, "no picture at all")
    total = sum(len(pile.paths) for pile in piles.values())
    with count_bar("looking at pictures", total) as advance:
        for pile in piles.values():
            for file in pile.paths:
                sample = str(Path(file).relative_to(path))
                try:
                    with open_picture(file) as picture:
                        seen.append((pile.name, sample, picture.mode, picture.width, picture.height))
                        turned = picture.getexif().get(ORIENTATION, 1)
                        picture.load()
                    if turned not in (0, 1):
                        yield Finding("rotated", pile.name, sample, f"EXIF orientation {turned}")
                except DataError as error:
                    yield Finding("broken", pile.name, sample, str(error).replace(file, "").lstrip(": "))
                except Exception as error:  # the decoders raise many kinds
                    yield Finding("broken", pile.name, sample, " ".join(str(error).split()) or type(error).__name__)
                advance(1)
    yield from odd_ones(seen)


def odd_ones(seen: Sequence[tuple[str, str, str, int, int]]) -> Iterator[Finding]:
    """Files (split, sample, mode, width, height) whose size or mode is unlike that of the others."""
    if not seen:
        return
    usual = median(min(width, height) for *_, width, height in seen)
    modes = Counter(mode for _, _, mode, _, _ in seen)
    common = {mode for mode, count in modes.items() if count >= 0.02 * len(seen)}
    for split, sample, mode, width, height in seen:
        if max(width, height) > SHAPES * min(width, height) or SHAPES * min(width, height) < usual:
            yield Finding("odd size", split, sample, f"{width} x {height} px, where {usual:.0f} are usual")
        if mode not in common:
            yield Finding("odd mode", split, sample, f"mode {mode}, where {modes.most_common(1)[0][0]} is usual")


def look_at_classes(data: Dataset) -> Iterator[Finding]:
    """Classes that are too small, by themselves or beside the largest."""
    for name, split in data.splits().items():
        counts = split.labels.bincount(minlength=len(data.classes)).tolist()
        most = max(counts)
        for label, count in zip(data.classes, counts, strict=True):
            if count < (FEW if name == "train" else 1):
                yield Finding("few pictures", name, label, f"{count} pictures")
            elif count * IMBALANCE <= most:
                yield Finding("imbalance", name, label, f"{count:,} pictures, where the largest class has {most:,}")


def look_for_duplicates(data: Dataset) -> Iterator[Finding]:
    """Pictures that are there more than once; each pair is told once, as the worst that it is."""
    splits = data.splits()

    def said(place: tuple[str, int]) -> tuple[str, str]:
        name, row = place
        split = splits[name]
        return str(split.ids[row]), data.classes[int(split.labels[row])]

    equal = [(group[0], other, 1.0) for group in exact(splits) for other in group[1:]]
    known = {(first, second) for first, second, _ in equal}
    pairs = equal + [pair for pair in near(splits) if (pair[0], pair[1]) not in known and pair[2] < 0.999999]
    for first, second, alike in pairs:
        (one, one_class), (other, other_class) = said(first), said(second)
        words = f"{'the same as' if alike == 1 else 'nearly'} {one} ({first[0]}, {one_class})"
        if one_class != other_class:
            kind = "contradiction"
        elif first[0] != second[0]:
            kind = "across splits"
        else:
            kind = "duplicate" if alike == 1 else "near duplicate"
        yield Finding(kind, second[0], other, f"{words}; this one: {other_class}", alike)


def doubt_labels(data: Dataset, network: str, epochs: int) -> tuple[list[Finding], str]:
    """Training pictures whose label is not what networks believe that were trained without them, the most doubted
    first; and what is to be known about them."""
    split, found = data.train, list[Finding]()
    if len(split) < FOLDS * 2 * len(data.classes):
        return found, "too few pictures to doubt labels"
    probabilities = out_of_fold(data, network, epochs)
    labels = split.labels.numpy()
    given = probabilities[np.arange(len(labels)), labels]
    usual = np.array([given[labels == k].mean() if (labels == k).any() else 1.0 for k in range(len(data.classes))])
    answer = probabilities.argmax(1)
    sure_of = probabilities[np.arange(len(labels)), answer]
    doubted = (answer != labels) & (sure_of >= SURE * usual[answer]) & (given <= DOUBT * usual[labels])
    for row in np.flatnonzero(doubted):
        sure, own = sure_of[row], given[row]
        what = f"labelled {data.classes[labels[row]]} ({own:.0%}), believed {data.classes[answer[row]]} ({sure:.0%})"
        found.append(Finding("suspect label", "train", str(split.ids[row]), what, float(sure - own)))
    found.sort(key=lambda one: -one.score)
    right = float((answer == labels).mean())
    most = len(labels) if right >= RELIABLE else round(FEW_DOUBTS * len(labels))
    note = (
        f"Networks that doubt labels are right on {right:.0%} of the pictures they have not seen"
        + (f": of {len(found):,} doubts the {most:,} strongest are told; more --epochs or a better --network tell more"
           if len(found) > most else "")
    )  # fmt: skip
    return found[:most], note


def out_of_fold(data: Dataset, network: str, epochs: int) -> NDArray[np.float32]:
    """(N, K): for each training picture the probabilities by a network that has not seen it."""
    split, found = data.train, np.zeros((len(data.train), len(data.classes)), dtype=np.float32)
    fold = torch.randperm(len(split), generator=generator(0)) % FOLDS
    recipe = Recipe(
        epochs=epochs, image_size=32, batch_size=64, optimizer="adamw", learning_rate=3e-3, validation_fraction=0.0,
        shift=min(2, min(data.shape[1:]) - 1),
    )  # fmt: skip
    with count_bar("doubting labels", FOLDS * epochs) as advance:
        for number in range(FOLDS):
            torch.manual_seed(number)
            seen, left = ((fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0])
            part = replace(data, train=split.take(seen), validation=None, test=split.take(left), divided=True)
            follows: dict[str, Any] = {"in_channels": data.shape[0], "num_classes": len(data.classes), "image_size": 32}
            known = find_variant(network).parameters()
            module = create(network, **{key: value for key, value in follows.items() if key in known})
            for _ in fit(module, part, recipe):
                advance(1)
            compute = Compute.choose()
            compute.place(module)
            assert part.test is not None
            found[left.numpy()] = evaluate_split(module, part.test, preprocessing(part, recipe), compute).probabilities
    return found


def as_csv(findings: Sequence[Finding]) -> str:
    rows = ([one.kind, one.split, one.sample, one.what, f"{one.score:.4f}"] for one in findings)
    return csv_text(["kind", "split", "sample", "what", "score"], rows)


def as_page(findings: Sequence[Finding], data: Dataset, notes: Sequence[str]) -> str:
    """The findings with their pictures."""
    splits = data.splits()
    place = {name: {str(one): row for row, one in enumerate(split.ids.tolist())} for name, split in splits.items()}
    galleries = []
    for kind, about in ABOUT.items():
        some = [one for one in findings if one.kind == kind]
        if not some:
            continue
        pictures = []
        for one in some[:SHOWN]:
            row = place.get(one.split, {}).get(one.sample)
            shown = address_of(splits[one.split], row) if row is not None else ""
            doubted = kind in ("contradiction", "suspect label")
            pictures.append(Shown(shown, one.what, f"{one.split}: {one.sample}", right=not doubted))
        galleries.append((Gallery(kind, about, pictures), len(some)))
    counts = [(f"{len(split):,}", f"{name} pictures") for name, split in data.splits().items()]
    return render(
        "audit.html", title=f"Audit of {data.name}", notes=notes, galleries=galleries, sharp=max(data.shape[1:]) <= 64,
        numbers=[*counts, (f"{len(data.classes):,}", "classes"), (f"{len(findings):,}", "findings")],
    )  # fmt: skip


def address_of(split: Split, row: int) -> str:
    return address(split.images[torch.tensor([row])][0].numpy())
