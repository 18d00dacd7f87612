"""Load a folder of images: `train/ val/ test/`, or their other usual names, of class folders, or these alone."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset, Split, match_classes, shorten_list
from lenext.data.headers import Header, read_headers
from lenext.data.image_files import ImageFiles
from lenext.data.images import GREY_MODES, Size, is_image
from lenext.foundation.errors import DataError

SPLIT_FOLDER_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
MAX_BYTES_IN_MEMORY = 2 << 30  # of the decoded images of all splits; more stay in their files
DEFAULT_PIXELS = 224  # side, if the files differ in size and none was requested


@dataclass
class SplitFiles:
    """The image files of one split.

    Attributes:
        name: Name of the split.
        root: The folder of its class folders.
        paths: Paths of the images.
        labels: Positions of their classes in `classes`.
        classes: Names of the class folders.
    """

    name: str
    root: Path
    paths: list[str]
    labels: list[int]
    classes: tuple[str, ...]


@dataclass
class FileReport:
    """An image file of a folder: its split, its path, and what reading it found.

    Attributes:
        split: Name of the split.
        path: Path of the file.
        header: Colour mode and size; None if the header cannot be read.
        orientation: EXIF orientation; 0 and 1 are upright.
        error: Why the image cannot be read; None if it can.
    """

    split: str
    path: str
    header: Header | None = None
    orientation: int = 1
    error: DataError | None = None


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Load a folder of images. Raises DataError."""
    return load_with_reports(path, options)[0]


def load_with_reports(path: Path, options: LoadOptions) -> tuple[Dataset, list[FileReport]]:
    """List the files, read their headers, and decode what fits into memory.

    Returns:
        The dataset, and a report of each file in the order of the splits. A file that stays undecoded, because the
        images do not fit into memory and `on_bad_image` is `stop`, is reported by its header alone.

    Raises:
        DataError: The folder has no class folders, a class has no images, or an image cannot be read.
    """
    split_files, notes = find_split_files(path)
    classes = split_files["train"].classes
    reports = {file: FileReport(files.name, file) for files in split_files.values() for file in files.paths}
    modes, sizes = check_headers(path, split_files.values(), reports, options, notes)
    channels = options.channels if options.channels != "auto" else (1 if modes <= set(GREY_MODES) else 3)
    size = choose_image_size(options, sizes)
    image_count = sum(len(files.paths) for files in split_files.values())
    in_memory = image_count * channels * size[0] * size[1] <= MAX_BYTES_IN_MEMORY
    splits, prefix = {}, "" if path == Path() else f"{path}{os.sep}"
    for name, files in split_files.items():
        labels = label_files(files, classes, notes)
        ids = np.array([file.removeprefix(prefix).replace(os.sep, "/") for file in files.paths])
        images = ImageFiles(files.paths, channels, size, options.fit)
        splits[name] = decode_split(
            Split(images, labels, ids), images, reports, options, in_memory=in_memory, notes=notes
        )
    if "test" not in splits and "validation" in splits and not options.separate_test:
        splits["test"] = splits.pop("validation")
        folder = split_files["validation"].root.name
        notes.append(
            f"{path.name} has train and {folder} but no test folder: {folder} is the test set, and validation is "
            "taken out of train"
        )
    data = Dataset(
        path.resolve().name,
        classes,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        source={"kind": "folder", "path": str(path.resolve())},
        flip_invariant=channels == 3 and not are_characters(classes),
        stored_fit=options.fit,
        notes=tuple(notes),
    )
    return data, list(reports.values())


def are_characters(classes: Iterable[str]) -> bool:
    """Return whether the classes are digits or letters, whose mirror images belong to another class or none."""
    return all(len(name) == 1 or name.isdigit() for name in classes)


def list_folders(path: Path) -> list[Path]:
    """Return the folders in `path` that are not hidden, sorted by name. Raises DataError."""
    try:
        ancestors = {path.resolve(), *path.resolve().parents}  # a link to one of them would never end
        folders = (entry for entry in path.iterdir() if entry.is_dir() and entry.resolve() not in ancestors)
        return sorted(folder for folder in folders if not folder.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def find_split_files(path: Path) -> tuple[dict[str, SplitFiles], list[str]]:
    """List the image files of each split, by the folders' names alone; also return notes. Raises DataError."""
    folders = {folder.name.lower(): folder for folder in list_folders(path)}
    roots: dict[str, Path] = {}
    for split, names in SPLIT_FOLDER_NAMES.items():
        candidates = [folders[name] for name in names if name in folders]
        if len(candidates) > 1:
            raise DataError(f"{path}: both {candidates[0].name} and {candidates[1].name} exist; keep one of them")
        roots |= {split: candidates[0]} if candidates else {}
    if not roots or (set(roots) == {"train"} and len(folders) > 1 and not list_folders(roots["train"])):
        roots = {"train": path}
    if "train" not in roots:
        raise DataError(f"{path}: there is {', '.join(root.name for root in roots.values())} but no train folder")
    notes: list[str] = []
    unused = sorted(set(folders.values()) - set(roots.values())) if path not in roots.values() else []
    if unused:
        notes.append(f"left out, as neither train, val nor test: {shorten_list([folder.name for folder in unused])}")
    return {split: list_split(split, root, notes) for split, root in roots.items()}, notes


def list_split(split: str, root: Path, notes: list[str]) -> SplitFiles:
    """List every visible image below each class folder of a split. Raises DataError."""
    classes = list_folders(root)
    if not classes:
        raise DataError(f"{root}: no class folders in it; put the images of each class into a folder of its name")
    if len(classes) == 1 and split == "train":
        raise DataError(f"{root}: only the class '{classes[0].name}'; at least two class folders are needed")
    paths, labels, other_files = [], [], []
    for label, folder in enumerate(classes):
        files = list_files(folder)
        images = [check_name(file) for file in files if is_image(file)]
        other_files += [os.path.basename(file) for file in files if not is_image(file)]
        paths += images
        labels += [label] * len(images)
    if other_files:
        names = shorten_list(other_files, 3)
        notes.append(f"{root.name}: {len(other_files)} files that are not images were left out: {names}")
    return SplitFiles(split, root, paths, labels, tuple(folder.name for folder in classes))


def list_files(folder: Path) -> list[str]:
    """Return every visible file below a folder, in order."""
    files: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [os.path.join(parent, name) for name in names if not name.startswith(".")]
    return sorted((file for file in files if os.path.isfile(file)), key=lambda file: file.split(os.sep))


def check_name(file: str) -> str:
    """Return the path of a file. Raises DataError if it is not UTF-8 text."""
    try:
        file.encode()
    except UnicodeEncodeError:
        raise DataError(f"{file!a}: a file name that is not UTF-8 text; rename it") from None
    return file


def check_headers(
    root: Path,
    split_files: Iterable[SplitFiles],
    reports: Mapping[str, FileReport],
    options: LoadOptions,
    notes: list[str],
) -> tuple[set[str], set[Size]]:
    """Read every header, and remove the files whose header cannot be read.

    Returns:
        The colour modes and the sizes of the images.

    Raises:
        DataError: A header cannot be read, and `on_bad_image` is `stop`.
    """
    modes, sizes = set[str](), set[Size]()
    for path, header in zip(reports, read_headers(root, list(reports)), strict=True):
        if isinstance(header, DataError):
            if options.on_bad_image == "stop":
                raise with_hint(header) from header
            notes.append(f"left out: {header}")
            reports[path].error = header
        else:
            reports[path].header = header
            modes.add(header.mode)
            sizes.add((header.height, header.width))
    for files in split_files:
        readable = [row for row, path in enumerate(files.paths) if reports[path].header]
        files.paths, files.labels = [files.paths[row] for row in readable], [files.labels[row] for row in readable]
    return modes, sizes


def label_files(files: SplitFiles, classes: Sequence[str], notes: list[str]) -> Tensor:
    """Return the labels of a split's files in the order of `classes`. Raises DataError for a class without images."""
    for label, class_name in enumerate(files.classes):
        if label not in files.labels:
            raise DataError(f"{files.root / class_name}: no image in it; add some or remove the folder")
    if missing := sorted(set(classes) - set(files.classes)):
        notes.append(f"{files.root.name} has no images of: {shorten_list(missing)}")
    return match_classes(torch.tensor(files.labels), files.classes, classes, str(files.root))


def choose_image_size(options: LoadOptions, sizes: set[Size]) -> Size:
    """Return the requested size; for "auto" the size that all files share if it is at most 224 px, else 224 px."""
    if options.image_size != "auto":
        return options.image_size
    shared = next(iter(sizes)) if len(sizes) == 1 else None
    return shared if shared and max(shared) <= DEFAULT_PIXELS else (DEFAULT_PIXELS, DEFAULT_PIXELS)


def decode_split(
    split: Split,
    images: ImageFiles,
    reports: Mapping[str, FileReport],
    options: LoadOptions,
    *,
    in_memory: bool,
    notes: list[str],
) -> Split:
    """Return a split with its images decoded or, if they do not fit into memory, still in their files.

    Raises DataError for an image that cannot be decoded, unless such images are left out.
    """
    if not in_memory and options.on_bad_image == "stop":
        return split
    decoded = images.decode_all(keep_pixels=in_memory)
    if decoded.errors and options.on_bad_image == "stop":
        raise with_hint(next(iter(decoded.errors.values())))
    notes += [f"left out: {error}" for error in decoded.errors.values()]
    for row, path in enumerate(images.paths.tolist()):
        reports[path].orientation = decoded.orientations.get(row, 1)
        reports[path].error = decoded.errors.get(row)
    good = split.take(decoded.rows)
    return replace(good, images=decoded.pixels) if in_memory else good


def with_hint(error: DataError) -> DataError:
    return DataError(f"{error}; --on-bad-image skip leaves such images out")
