"""`audit`: what is wrong with data, before they are trained on. Nothing is changed but the audit's own files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch

from lenext.data import DATASETS, load
from lenext.data.dataset import Dataset, Split
from lenext.data.duplicates import SampleLocation, find_exact_duplicates
from lenext.data.folder import find_split_files
from lenext.data.images import open_image
from lenext.data.near_duplicates import NEARLY, NearDuplicate, find_near_duplicates
from lenext.foundation.errors import ConfigurationError, DataError, LenextError, unknown_name
from lenext.foundation.files import csv_text, expand_path, make_folder, write_atomic
from lenext.foundation.progress import count_bar
from lenext.reporting.page import LARGEST, Gallery, Shown, address, render
from lenext.workflows.suspects import RULES, Suspicion, suspect_labels

ORIENTATION = 0x0112  # the EXIF tag
SHAPES = 3.0  # times as long as wide, or a third as large as the usual: odd
FEW = 10  # images of a class that are too few to learn from
IMBALANCE = 10  # times as many images as another class
NETWORK, EPOCHS = "lenet_32px", 12  # of the search for suspect labels, unless told otherwise
SHOWN = 24  # images of a kind on the page
ABOUT = {
    "broken": "Files that cannot be read.",
    "odd size": "Far longer than wide, or far smaller than the others.",
    "odd mode": "Other colours than nearly all the others have.",
    "rotated": "Turned by their EXIF orientation; lenext turns them, other programs may not.",
    "duplicate": "Equal to the pixel, within a split.",
    "across splits": "Nearly or quite the same image in two splits: its figures flatter.",
    "contradiction": "Nearly or quite the same image under two classes.",
    "near duplicate": "Nearly the same image, within a split.",
    "few images": "Classes with hardly any images.",
    "imbalance": "Classes with far fewer images than the largest.",
    "suspect label": "Networks that were trained without an image are sure that it is of another class.",
}
"""The kinds of findings, in the order in which they are told."""


@dataclass(frozen=True)
class Finding:
    """One thing that may be wrong: of which kind, where (a split, a sample's id), what it is, and how sure (0 to 1).

    Of a copy, `beside` is the other image's split and row.
    """

    kind: str
    split: str
    sample: str
    what: str
    score: float = 1.0
    beside: SampleLocation | None = None


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
    suspect: Suspicion | None = None,
    network: str | None = None,
    epochs: int | None = None,
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Audit:
    """Look through data, and write `audit.csv` and `audit.html` into the folder `out`.

    Reports broken files, odd sizes and modes, EXIF rotation, duplicates and near duplicates within and across splits,
    and small classes. With `labels`, also suspect labels of training images, by the probabilities of three networks,
    each trained on two thirds of the training images and asked about the third that it has not seen.

    Args:
        data: a data set, its name, or a path.
        out: the folder for the table and the page.
        labels: whether to train networks to find suspect labels.
        suspect: which labels are suspect. "sensitive" (the default): another class is likelier, and the label's own
            probability is below a fifth of the mean that images of its class are given for it; misses few wrong
            labels. "precise": as many as confident learning (arXiv:1911.00068) estimates to be wrong, those with the
            lowest probability of their own label; raises few false alarms.
        network: which one to train; `lenet_32px` by default.
        epochs: for how long; 12 by default.
        data_dir: where named data sets lie.
        offline: never download.

    Raises:
        DataError: the data cannot be read.
        ConfigurationError: an option of the training is given without `labels`, or is unknown.
    """
    training = {"suspect": suspect, "network": network, "epochs": epochs}
    chosen = [name for name, value in training.items() if value is not None]
    if chosen and not labels:
        raise ConfigurationError(f"audit: {chosen[0]} has no effect without labels; leave it out, or search for labels")
    if suspect is not None and suspect not in RULES:
        raise ConfigurationError(unknown_name("rule for suspect labels", str(suspect), RULES))
    findings: list[Finding] = []
    if not isinstance(data, Dataset):
        path = expand_path(data)
        if str(data) not in DATASETS and path.is_dir() and has_images(path):
            findings += look_at_files(path)
        size: Literal["auto"] | int = 64 if findings or (path.is_dir() and has_images(path)) else "auto"
        data = load(data, data_dir=data_dir, offline=offline, image_size=size, on_bad_image="skip")
    findings += look_at_classes(data)
    findings += look_for_duplicates(data)
    notes: list[str] = []
    if labels:
        doubts, note = find_suspects(
            data, network or NETWORK, EPOCHS if epochs is None else epochs, suspect or "sensitive"
        )
        findings += doubts
        notes += [note] if note else []
    order = list(ABOUT)
    findings.sort(key=lambda one: (order.index(one.kind), -one.score))
    folder = make_folder(expand_path(out))
    write_atomic(folder / "audit.csv", as_csv(findings))
    write_atomic(folder / "audit.html", as_page(findings, data, notes))
    return Audit(tuple(findings), folder / "audit.csv", folder / "audit.html", tuple(notes))


def has_images(path: Path) -> bool:
    """Whether it has images in class folders."""
    try:
        return bool(find_split_files(path)[0]["train"].paths)
    except LenextError:
        return False


def look_at_files(path: Path) -> Iterator[Finding]:
    """What the files of images say of themselves."""
    piles, _ = find_split_files(path)
    seen: list[tuple[str, str, str, int, int]] = []
    for pile in piles.values():
        for label, name in enumerate(pile.classes):
            if label not in pile.labels:
                yield Finding("few images", pile.name, name, "no image at all")
    total = sum(len(pile.paths) for pile in piles.values())
    with count_bar("looking at images", total) as advance:
        for pile in piles.values():
            for file in pile.paths:
                sample = str(Path(file).relative_to(path))
                try:
                    with open_image(file) as image:
                        seen.append((pile.name, sample, image.mode, image.width, image.height))
                        turned = image.getexif().get(ORIENTATION, 1)
                        image.load()
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
                yield Finding("few images", name, label, f"{count} images")
            elif count * IMBALANCE <= most:
                yield Finding("imbalance", name, label, f"{count:,} images, where the largest class has {most:,}")


def look_for_duplicates(data: Dataset) -> Iterator[Finding]:
    """Images that are there more than once; each pair is told once, as the worst that it is."""
    splits = data.splits()

    def said(place: tuple[str, int]) -> tuple[str, str]:
        name, row = place
        split = splits[name]
        return str(split.ids[row]), data.classes[int(split.labels[row])]

    groups = find_exact_duplicates(splits)
    equal = [NearDuplicate(group[0], other, 1.0, "") for group in groups for other in group[1:]]
    for copy in [*equal, *find_near_duplicates(splits, groups)]:
        same = not copy.change
        (one, one_class), (other, other_class) = said(copy.first), said(copy.second)
        words = f"{'the same as' if same else 'nearly the same as'} {one} ({copy.first[0]}, {one_class})"
        if copy.change not in ("", NEARLY):
            words += f", {copy.change}"
        if one_class != other_class:
            kind = "contradiction"
        elif copy.first[0] != copy.second[0]:
            kind = "across splits"
        else:
            kind = "duplicate" if same else "near duplicate"
        yield Finding(kind, copy.second[0], other, f"{words}; this one: {other_class}", copy.alike, copy.first)


def find_suspects(data: Dataset, network: str, epochs: int, rule: Suspicion) -> tuple[list[Finding], str]:
    """Training images whose label is suspect, the most doubted first, and a note about the networks."""
    suspects, note = suspect_labels(data, network, epochs, rule)
    split, findings = data.train, []
    for suspect in suspects:
        label = data.classes[int(split.labels[suspect.row])]
        what = (
            f"labelled {label} ({suspect.self_confidence:.0%}), "
            f"believed {data.classes[suspect.believed]} ({suspect.probability:.0%})"
        )
        score = max(0.0, suspect.probability - suspect.self_confidence)
        findings.append(Finding("suspect label", "train", str(split.ids[suspect.row]), what, score))
    return findings, note


def as_csv(findings: Sequence[Finding]) -> str:
    rows = ([one.kind, one.split, one.sample, one.what, f"{one.score:.4f}"] for one in findings)
    return csv_text(["kind", "split", "sample", "what", "score"], rows)


def as_page(findings: Sequence[Finding], data: Dataset, notes: Sequence[str]) -> str:
    """The findings with their images."""
    splits = data.splits()
    place = {name: {str(one): row for row, one in enumerate(split.ids.tolist())} for name, split in splits.items()}
    galleries = []
    for kind, about in ABOUT.items():
        some = [one for one in findings if one.kind == kind]
        if not some:
            continue
        images = []
        for one in some[:SHOWN]:
            row = place.get(one.split, {}).get(one.sample)
            places = [one.beside] if one.beside else []
            places += [(one.split, row)] if row is not None else []
            shown = address_of(splits, places) if places else ""
            doubted = kind in ("contradiction", "suspect label")
            images.append(Shown(shown, one.what, f"{one.split}: {one.sample}", right=not doubted))
        galleries.append((Gallery(kind, about, images), len(some)))
    counts = [(f"{len(split):,}", f"{name} images") for name, split in data.splits().items()]
    return render(
        "audit.html", title=f"Audit of {data.name}", notes=notes, galleries=galleries, sharp=max(data.shape[1:]) <= 64,
        numbers=[*counts, (f"{len(data.classes):,}", "classes"), (f"{len(findings):,}", "findings")],
    )  # fmt: skip


def address_of(splits: Mapping[str, Split], places: Sequence[SampleLocation]) -> str:
    """Return images side by side as an address that holds them."""
    images = [splits[name].images[torch.tensor([row])][0].numpy() for name, row in places]
    gap = np.full((*images[0].shape[:2], max(1, images[0].shape[2] // 16)), 255, dtype=np.uint8)
    parts = [part for image in images for part in (gap, image)][1:]
    return address(np.concatenate(parts, 2), LARGEST * len(images))
