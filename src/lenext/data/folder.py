"""A person's own images: `train/ val/ test/` of class folders (or their other usual names), or classes alone."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset, Split, match_classes, shorten_list
from lenext.data.headers import Header, read_headers
from lenext.data.images import GREY_MODES, ImageFiles, Size, is_image
from lenext.foundation.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IN_MEMORY = 2 << 30  # bytes of decoded images, over all splits; more stay in their files
PHOTOGRAPH = 224  # the size where files differ in theirs and none was asked for


@dataclass
class SplitFiles:
    """One split on its way in: file names and the names of their classes."""

    name: str
    root: Path
    paths: list[str]
    labels: list[int]
    classes: tuple[str, ...]


def load_path(path: Path, options: LoadOptions) -> Dataset:
    """Read the folders' names, look at each file's header, decode what fits into memory. Raises DataError."""
    piles, notes = find_split_files(path)
    classes = piles["train"].classes
    left_out, modes, sizes = look(path, piles.values(), options.on_bad_image)
    notes += left_out
    channels = options.channels if options.channels != "auto" else (1 if modes <= set(GREY_MODES) else 3)
    size = image_size(options, sizes)
    total = sum(len(pile.paths) for pile in piles.values()) * channels * size[0] * size[1]
    splits, prefix = {}, "" if path == Path() else f"{path}{os.sep}"
    for name, pile in piles.items():
        for label, class_name in enumerate(pile.classes):
            if label not in pile.labels:
                raise DataError(f"{pile.root / class_name}: no image in it; add some or remove the folder")
        labels = match_classes(torch.tensor(pile.labels), pile.classes, classes, str(pile.root))
        if absent := sorted(set(classes) - set(pile.classes)):
            notes.append(f"{pile.root.name} has no images of: {shorten_list(absent)}")
        files = ImageFiles(pile.paths, channels, size, options.fit)
        ids = np.array([file.removeprefix(prefix).replace(os.sep, "/") for file in pile.paths])
        in_memory = total <= IN_MEMORY
        splits[name] = read_split(files, Split(files, labels, ids), options, in_memory=in_memory, notes=notes)
    if "test" not in splits and "validation" in splits and not options.separate_test:
        splits["test"] = splits.pop("validation")
        notes.append(
            f"{path.name} has train and {piles['validation'].root.name} but no test folder: "
            f"{piles['validation'].root.name} is the test set, and validation is taken out of train"
        )
    return Dataset(
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


def are_characters(classes: Iterable[str]) -> bool:
    """Whether the classes are digits or letters, whose mirror images are others or none."""
    return all(len(name) == 1 or name.isdigit() for name in classes)


def visible_folders(path: Path) -> list[Path]:
    """The folders in it that are not hidden, by name."""
    try:
        above = {path.resolve(), *path.resolve().parents}  # where a link back would lead
        folders = (entry for entry in path.iterdir() if entry.is_dir() and entry.resolve() not in above)
        return sorted(folder for folder in folders if not folder.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def find_split_files(path: Path) -> tuple[dict[str, SplitFiles], list[str]]:
    """The images of each split, by the folders' names alone."""
    folders = {folder.name.lower(): folder for folder in visible_folders(path)}
    roots: dict[str, Path] = {}
    for split, names in NAMES.items():
        there = [folders[name] for name in names if name in folders]
        if len(there) > 1:
            raise DataError(f"{path}: both {there[0].name} and {there[1].name} are there; keep one of them")
        roots |= {split: there[0]} if there else {}
    if not roots or (set(roots) == {"train"} and len(folders) > 1 and not visible_folders(roots["train"])):
        roots = {"train": path}
    if "train" not in roots:
        raise DataError(f"{path}: there is {', '.join(root.name for root in roots.values())} but no train folder")
    notes: list[str] = []
    others = sorted(set(folders.values()) - set(roots.values())) if path not in roots.values() else []
    if others:
        notes.append(f"left out, as neither train, val nor test: {shorten_list([other.name for other in others])}")
    return {split: pile(split, root, notes) for split, root in roots.items()}, notes


def pile(split: str, root: Path, notes: list[str]) -> SplitFiles:
    """Every visible image below each class folder."""
    classes = visible_folders(root)
    if not classes:
        raise DataError(f"{root}: no class folders in it; put the images of each class into a folder of its name")
    if len(classes) == 1 and split == "train":
        raise DataError(f"{root}: only the class '{classes[0].name}'; at least two class folders are needed")
    paths, labels, others = [], [], []
    for label, folder in enumerate(classes):
        files = files_below(folder)
        images = [readable(file) for file in files if is_image(file)]
        others += [os.path.basename(file) for file in files if not is_image(file)]
        paths += images
        labels += [label] * len(images)
    if others:
        notes.append(f"{root.name}: {len(others)} files that are no images were left out: {shorten_list(others, 3)}")
    return SplitFiles(split, root, paths, labels, tuple(folder.name for folder in classes))


def files_below(folder: Path) -> list[str]:
    """Every visible file below a folder, in order."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, name) for name in names if not name.startswith(".")]
    return sorted((file for file in found if os.path.isfile(file)), key=lambda file: file.split(os.sep))


def readable(file: str) -> str:
    """The file's name, which must be text."""
    try:
        file.encode()
    except UnicodeEncodeError:
        raise DataError(f"{file!a}: a file name that is no UTF-8 text; rename it") from None
    return file


def look(root: Path, piles: Iterable[SplitFiles], on_bad_image: str) -> tuple[list[str], set[str], set[Size]]:
    """Read every header: drop or name the broken ones; return notes, the colour modes and the sizes there are."""
    piles, notes = list(piles), list[str]()
    headers = read_headers(root, [path for pile in piles for path in pile.paths])
    modes = {header.mode for header in headers if isinstance(header, Header)}
    sizes = {(header.height, header.width) for header in headers if isinstance(header, Header)}
    for header in headers:
        if isinstance(header, DataError):
            if on_bad_image == "stop":
                raise hinted(header) from header
            notes.append(f"left out: {header}")
    rest = iter(headers)
    for pile in piles:
        kept = [at for at, header in zip(range(len(pile.paths)), rest, strict=False) if isinstance(header, Header)]
        pile.paths, pile.labels = [pile.paths[at] for at in kept], [pile.labels[at] for at in kept]
    return notes, modes, sizes


def image_size(options: LoadOptions, sizes: set[Size]) -> Size:
    """As asked for; else the files' own where they share one of at most 224 px; else 224 px."""
    if options.image_size != "auto":
        return options.image_size
    own = next(iter(sizes)) if len(sizes) == 1 else None
    return own if own and max(own) <= PHOTOGRAPH else (PHOTOGRAPH, PHOTOGRAPH)


def read_split(files: ImageFiles, split: Split, options: LoadOptions, *, in_memory: bool, notes: list[str]) -> Split:
    """The split with its images decoded, or still in their files. A broken one is named, or left out if so asked."""
    if not in_memory and options.on_bad_image == "stop":
        return split
    pixels, good, complaints = files.decoded(keep=in_memory)
    if complaints and options.on_bad_image == "stop":
        raise hinted(complaints[0])
    notes += [f"left out: {complaint}" for complaint in complaints]
    return replace(split.take(good), images=pixels) if in_memory else split.take(good)


def hinted(error: DataError) -> DataError:
    return DataError(f"{error}; --on-bad-image skip leaves such images out")
