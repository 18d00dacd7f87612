"""`audit`: find faults of a dataset before training. Nothing is changed but the audit's own files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from lenext.data import LoadOptions, is_image_folder, load
from lenext.data.dataset import Dataset, Split
from lenext.data.duplicates import SampleLocation, find_exact_duplicates
from lenext.data.folder import FileReport, load_with_reports
from lenext.data.near_duplicates import UNNAMED_CHANGE, NearDuplicate, find_near_duplicates
from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import csv_text, expand_path, provisional_folder, write_atomic
from lenext.reporting.page import MAX_IMAGE_SIDE, MAX_PIXELATED_SIDE, Gallery, GalleryItem, image_url, render
from lenext.training.experiment import Experiment
from lenext.workflows.suspects import RULES, Suspicion, build_for_search, plan_search, suspect_labels

ODD_RATIO = 3.0  # times as long as wide, or as small as the usual: odd
MIN_MODE_FRACTION = 0.02  # of the files; rarer colour modes are odd
MIN_CLASS_IMAGES = 10  # fewer are too few to learn from
MAX_IMBALANCE = 10  # times as many images as the largest class may have
IMAGE_FOLDER_PIXELS = 64  # side at which a folder's images are compared
DEFAULT_NETWORK, DEFAULT_EPOCHS = "lenet_32px", 12  # of the search for suspect labels
MAX_IMAGES_PER_KIND = 24  # on the page
KINDS = {
    "broken": "Files that cannot be read.",
    "odd size": "Far longer than wide, or far smaller than the others.",
    "odd mode": "A colour mode that nearly no other file has.",
    "rotated": "Rotated by their EXIF orientation; lenext rotates them, other programs may not.",
    "duplicate": "Equal to the pixel, within a split.",
    "across splits": "The same or nearly the same image in two splits, which makes metrics too good.",
    "contradiction": "The same or nearly the same image under two classes.",
    "near duplicate": "Nearly the same image, within a split.",
    "few images": "Classes with hardly any images.",
    "imbalance": "Classes with far fewer images than the largest.",
    "suspect label": "Networks that were not trained on an image are sure that it belongs to another class.",
}
"""The kinds of findings, in the order of the report."""
OF_LABELS = ("duplicate", "across splits", "contradiction", "near duplicate", "suspect label")
"""The kinds that a decision about a sample settles: keep it, give it another label, or drop it."""


COLUMNS = ("kind", "split", "sample", "description", "score", "beside_split", "beside_sample")
"""The columns of `audit.csv`; `beside_...` is the other image of a pair."""


@dataclass(frozen=True)
class Finding:
    """A possible fault of the data.

    Attributes:
        kind: A key of KINDS.
        split: Name of the split.
        sample: Id of the sample, or name of the class.
        description: One line.
        score: Confidence, 0 to 1.
        beside: Location of the other image of a pair of duplicates.
    """

    kind: str
    split: str
    sample: str
    description: str
    score: float = 1.0
    beside: SampleLocation | None = None


@dataclass(frozen=True)
class Audit:
    """The findings, and the files that report them."""

    findings: tuple[Finding, ...]
    table: Path
    page: Path
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> list[Finding]:
        """Return the findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]


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
    """Look for faults in a dataset, and write `audit.csv` and `audit.html` into the folder `out`.

    Reports broken files, odd sizes and modes, EXIF rotation, duplicates and near duplicates within and across splits,
    and small classes. With `labels`, also suspect labels of training images, by the probabilities of three networks,
    each trained on two thirds of the training images and evaluated on the third that it has not seen.

    Args:
        data: A dataset, its name, or a path.
        out: Folder for the table and the page.
        labels: Whether to train networks to find suspect labels.
        suspect: Which labels are suspect. "sensitive" (the default): another class is likelier, and the label's own
            probability is below a fifth of the mean over the images of its class; misses few wrong labels. "precise":
            as many as confident learning (arXiv:1911.00068) estimates to be wrong, those with the lowest probability of
            their own label; raises few false alarms.
        network: Network to train, a name or FILE.py:Class; `lenet_32px` by default.
        epochs: Epochs of each training; 12 by default.
        data_dir: Folder of the datasets that have a name.
        offline: Whether downloads are forbidden.

    Raises:
        DataError: The data cannot be read.
        ConfigurationError: An option of the training is set without `labels`, or is unknown, or the network does not
            fit the images.
    """
    training = {"suspect": suspect, "network": network, "epochs": epochs}
    unused = [name for name, value in training.items() if value is not None and not labels]
    if unused:
        raise ConfigurationError(f"audit: {unused[0]} has no effect without labels; remove it, or set labels")
    if suspect is not None and suspect not in RULES:
        raise ConfigurationError(unknown_name("rule for suspect labels", str(suspect), RULES))
    search = plan_search(network or DEFAULT_NETWORK, DEFAULT_EPOCHS if epochs is None else epochs) if labels else None
    with provisional_folder(expand_path(out)) as folder:
        findings: list[Finding] = []
        if not isinstance(data, Dataset):
            data, findings = load_and_check_files(str(data), data_dir=data_dir, offline=offline)
        if search:
            build_for_search(data, search)  # a network that does not fit the images is refused before the long work
        findings += check_class_sizes(data)
        findings += find_duplicates(data)
        notes: list[str] = []
        if search:
            suspects, note = find_suspects(data, search, suspect or "sensitive")
            findings += suspects
            notes.append(note)
        kinds = list(KINDS)
        findings.sort(key=lambda finding: (kinds.index(finding.kind), -finding.score))
        write_atomic(folder / "audit.csv", format_csv(findings, data))
        write_atomic(folder / "audit.html", render_page(findings, data, notes))
    return Audit(tuple(findings), folder / "audit.csv", folder / "audit.html", tuple(notes))


def load_and_check_files(source: str, *, data_dir: str | Path | None, offline: bool) -> tuple[Dataset, list[Finding]]:
    """Load a dataset, and check the files of a folder of images; each is decoded once."""
    if not is_image_folder(source):
        return load(source, data_dir=data_dir, offline=offline, on_bad_image="skip"), []
    path, side = expand_path(source), IMAGE_FOLDER_PIXELS
    options = LoadOptions(path, offline, (side, side), on_bad_image="skip")  # nothing is downloaded for a folder
    data, reports = load_with_reports(path, options)
    return data, [*check_files(path, reports), *check_sizes_and_modes(path, reports)]


def check_files(root: Path, reports: Sequence[FileReport]) -> Iterator[Finding]:
    """Yield the files that cannot be read or are rotated by their EXIF orientation."""
    for report in reports:
        sample = str(Path(report.path).relative_to(root))
        if report.error:
            yield Finding("broken", report.split, sample, str(report.error).replace(report.path, "").lstrip(": "))
        elif report.orientation not in (0, 1):
            yield Finding("rotated", report.split, sample, f"EXIF orientation {report.orientation}")


def check_sizes_and_modes(root: Path, reports: Sequence[FileReport]) -> Iterator[Finding]:
    """Yield the files whose size or colour mode differs from that of nearly all others."""
    headers = [(report, report.header) for report in reports if report.header]
    if not headers:
        return
    usual = median(min(header.width, header.height) for _, header in headers)
    modes = Counter(header.mode for _, header in headers)
    common_modes = {mode for mode, count in modes.items() if count >= MIN_MODE_FRACTION * len(headers)}
    for report, header in headers:
        sample = str(Path(report.path).relative_to(root))
        short, long = sorted((header.width, header.height))
        if long > ODD_RATIO * short or ODD_RATIO * short < usual:
            description = f"{header.width} x {header.height} px, where {usual:.0f} are usual"
            yield Finding("odd size", report.split, sample, description)
        if header.mode not in common_modes:
            description = f"mode {header.mode}, where {modes.most_common(1)[0][0]} is usual"
            yield Finding("odd mode", report.split, sample, description)


def check_class_sizes(data: Dataset) -> Iterator[Finding]:
    """Yield the classes that are too small, absolutely or beside the largest."""
    for name, split in data.splits().items():
        counts = split.labels.bincount(minlength=len(data.classes)).tolist()
        largest = max(counts)
        for label, count in zip(data.classes, counts, strict=True):
            if count < (MIN_CLASS_IMAGES if name == "train" else 1):
                yield Finding("few images", name, label, f"{count} images")
            elif count * MAX_IMBALANCE <= largest:
                yield Finding("imbalance", name, label, f"{count:,} images, where the largest class has {largest:,}")


def find_duplicates(data: Dataset) -> Iterator[Finding]:
    """Yield images that occur more than once; each pair is reported once, as the worst kind that applies."""
    splits = data.splits()

    def describe(location: SampleLocation) -> tuple[str, str]:
        name, row = location
        split = splits[name]
        return str(split.ids[row]), data.classes[int(split.labels[row])]

    groups = find_exact_duplicates(splits)
    equal = [NearDuplicate(group[0], location, 1.0, "") for group in groups for location in group[1:]]
    for pair in [*equal, *find_near_duplicates(splits, groups)]:
        is_exact = not pair.change
        (first, first_class), (second, second_class) = describe(pair.first), describe(pair.second)
        description = f"{'the same as' if is_exact else 'nearly the same as'} {first} ({pair.first[0]}, {first_class})"
        if pair.change not in ("", UNNAMED_CHANGE):
            description += f", {pair.change}"
        if first_class != second_class:
            kind = "contradiction"
        elif pair.first[0] != pair.second[0]:
            kind = "across splits"
        else:
            kind = "duplicate" if is_exact else "near duplicate"
        description += f"; this one: {second_class}"
        yield Finding(kind, pair.second[0], second, description, pair.correlation, pair.first)


def find_suspects(data: Dataset, search: Experiment, rule: Suspicion) -> tuple[list[Finding], str]:
    """Return training images whose label is suspect, the most suspect first, and a note about the networks."""
    suspects, note = suspect_labels(data, search, rule)
    split, findings = data.train, []
    for suspect in suspects:
        label = data.classes[int(split.labels[suspect.row])]
        description = (
            f"labelled {label} ({suspect.self_confidence:.0%}), "
            f"predicted {data.classes[suspect.predicted]} ({suspect.probability:.0%})"
        )
        score = max(0.0, suspect.probability - suspect.self_confidence)
        findings.append(Finding("suspect label", "train", str(split.ids[suspect.row]), description, score))
    return findings, note


def format_csv(findings: Sequence[Finding], data: Dataset) -> str:
    """Format the findings as CSV; `beside` is the split and the id of the other image of a pair."""
    splits = data.splits()

    def row(finding: Finding) -> list[str]:
        name, place = finding.beside or ("", 0)
        beside = [name, str(splits[name].ids[place])] if name else ["", ""]
        return [finding.kind, finding.split, finding.sample, finding.description, f"{finding.score:.4f}", *beside]

    return csv_text(COLUMNS, map(row, findings))


def render_page(findings: Sequence[Finding], data: Dataset, notes: Sequence[str]) -> str:
    """Render the findings with their images as an HTML page."""
    splits = data.splits()
    rows = rows_by_text(data)
    galleries = []
    for kind, about in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if not of_kind:
            continue
        items = []
        for finding in of_kind[:MAX_IMAGES_PER_KIND]:
            row = rows.get(finding.split, {}).get(finding.sample)
            locations = [finding.beside] if finding.beside else []
            locations += [(finding.split, row)] if row is not None else []
            image = embed_images(splits, locations) if locations else ""
            is_label_right = kind not in ("contradiction", "suspect label")
            caption = f"{finding.split}: {finding.sample}"
            items.append(GalleryItem(image, finding.description, caption, is_correct=is_label_right))
        galleries.append((Gallery(kind, about, items), len(of_kind)))
    counts = [(f"{len(split):,}", f"{name} images") for name, split in splits.items()]
    return render(
        "audit.html",
        title=f"Audit of {data.name}",
        notes=notes,
        galleries=galleries,
        pixelated=max(data.shape[1:]) <= MAX_PIXELATED_SIDE,
        numbers=[*counts, (f"{len(data.classes):,}", "classes"), (f"{len(findings):,}", "findings")],
    )


def rows_by_text(data: Dataset) -> dict[str, dict[str, int]]:
    """Return the row of each sample id, as text, by split."""
    return {
        name: {str(sample): row for sample, row in split.row_by_id().items()} for name, split in data.splits().items()
    }


def embed_images(splits: Mapping[str, Split], locations: Sequence[SampleLocation]) -> str:
    """Return images side by side, with a white gap between them, as a data address."""
    images = [splits[name].images[torch.tensor([row])][0].numpy() for name, row in locations]
    gap = np.full((*images[0].shape[:2], max(1, images[0].shape[2] // 16)), 255, dtype=np.uint8)
    parts = [part for image in images for part in (gap, image)][1:]
    return image_url(np.concatenate(parts, 2), MAX_IMAGE_SIDE * len(images))
