"""What the audit finds of what was planted: python -m benchmarks.audit DATA [--sheets FOLDER].

Copies: 40 images of `train` are put into `test` once more after each of several changes, among flower photographs
(DATA/flowers), CIFAR-10, MNIST and Fashion-MNIST. A copy is found if it is reported together with its original.
Reported pairs that were not planted are counted, and drawn side by side into FOLDER, the least alike first: CIFAR-10
and Fashion-MNIST hold images more than once.

Labels: 5 % of the labels of 3,000 MNIST images are swapped; the audit's two rules and cleanlab judge the same
out-of-fold probabilities.
"""

import io
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

import lenext
from benchmarks.harness import report
from lenext.data.dataset import Dataset, Split
from lenext.workflows.audit import DEFAULT_EPOCHS, DEFAULT_NETWORK, audit
from lenext.workflows.suspects import RULES, out_of_fold_probabilities, plan_search

DATA = ("flowers", "cifar10", "mnist", "fashion-mnist")
COPIES = 40  # of each kind
LABELLED, SEEDS = 3000, (0, 1, 2)
PAIR = re.compile(r"(\S+) \((train|test), ")  # the other image and its split, in a finding's text


def flip_bit(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    pixels.reshape(-1)[pixels.size // 2] ^= 1
    return Image.fromarray(pixels)


def compress(quality: int) -> Callable[[Image.Image], Image.Image]:
    def save(image: Image.Image) -> Image.Image:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=quality)
        return Image.open(content).convert(image.mode)

    return save


def brighten(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def crop(share: float) -> Callable[[Image.Image], Image.Image]:
    """Cut this share off each side."""

    def cut(image: Image.Image) -> Image.Image:
        x, y = (max(1, round(share * side)) for side in image.size)
        return image.crop((x, y, image.width - x, image.height - y))

    return cut


def crop_corner(image: Image.Image) -> Image.Image:
    """Cut 10 % off the left and 5 % off the top."""
    return image.crop((round(0.1 * image.width), round(0.05 * image.height), image.width, image.height))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "one bit": flip_bit,
    "JPEG 98": compress(98),
    "JPEG 75": compress(75),
    "JPEG 50": compress(50),
    "brightness x 0.8": brighten(0.8),
    "brightness x 1.2": brighten(1.2),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "cropped 5 %": crop(0.05),
    "cropped 10 %": crop(0.1),
    "cropped at a corner": crop_corner,
}


def plant_files(source: Path, root: Path) -> dict[str, tuple[str, str]]:
    """Link the photographs as `train`, write copies into `test`; returns for each copy its original and kind."""
    originals = sorted(path for path in source.rglob("*.jpg"))
    for path in originals:
        place = root / "train" / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.resolve())
    copies = {}
    for seed, (kind, change) in enumerate(CHANGES.items()):
        for at in np.random.default_rng(seed).permutation(len(originals))[:COPIES].tolist():
            path = originals[at]
            folder = root / "test" / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                changed = change(image.convert("RGB"))
            name = f"{re.sub('[^a-z0-9]+', '-', kind.lower())}-{path.stem}"
            if kind.startswith("JPEG"):
                copy = folder / f"{name}.jpg"
                with Image.open(path) as image:
                    image.convert("RGB").save(copy, quality=int(kind.split()[1]))
            else:
                copy = folder / f"{name}.png"
                changed.save(copy)
            copies[str(copy.relative_to(root))] = (f"train/{path.parent.name}/{path.name}", kind)
    return copies


def plant_arrays(data: Dataset) -> tuple[Dataset, dict[str, tuple[str, str]]]:
    """The data set with copies of training images behind its test images; ids tell them apart."""
    assert data.test is not None
    channels, height, width = data.shape
    images, labels, ids, copies = [data.test.images], [data.test.labels], [f"test-{i}" for i in data.test.ids], {}
    for seed, (kind, change) in enumerate(CHANGES.items()):
        if kind == "grey" and channels == 1:
            continue
        rows = np.random.default_rng(seed).permutation(len(data.train))[:COPIES]
        for row, pixels in zip(rows.tolist(), data.train.images[torch.from_numpy(rows)].numpy(), strict=True):
            image = Image.fromarray(pixels.transpose(1, 2, 0).squeeze())
            changed = change(image).resize((width, height), Image.Resampling.BICUBIC)
            array = np.array(changed).reshape(height, width, channels).transpose(2, 0, 1)
            images.append(torch.from_numpy(array)[None])
            labels.append(data.train.labels[row : row + 1])
            ids.append(f"{re.sub('[^a-z0-9]+', '-', kind.lower())}-{row}")
            copies[ids[-1]] = (str(data.train.ids[row]), kind)
    test = Split(torch.cat(images), torch.cat(labels), np.array(ids))  # type: ignore[arg-type]
    return replace(data, test=test), copies


def measure_copies(name: str, folder: Path, sheets: Path | None) -> dict[str, float]:
    """Return the recall by kind of change, and how many pairs were reported that were not planted."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data: Dataset
        if name == "flowers":
            copies = plant_files(folder / "flowers", root / "flowers")
            data = lenext.load(str(root / "flowers"), image_size=64)
        else:
            data, copies = plant_arrays(lenext.load(name, data_dir=folder))
        begun = time.perf_counter()
        result = audit(data, out=root / "audit", labels=False)
        seconds = time.perf_counter() - begun
        pairs: dict[frozenset[tuple[str, str]], float] = {}
        for finding in result.findings:
            if finding.kind in ("duplicate", "across splits", "contradiction", "near duplicate"):
                match = PAIR.search(finding.description)
                assert match, finding
                pairs[frozenset([(finding.split, finding.sample), (match[2], match[1])])] = finding.score
        origin = {("test", copy): ("train", original) for copy, (original, _) in copies.items()}
        others = [pair for pair in pairs if len({origin.get(place, place) for place in pair}) > 1]
        if sheets:
            draw_sheet(data, [sorted(pair) for pair in sorted(others, key=pairs.__getitem__)], sheets / f"{name}.png")
    hits: dict[str, list[bool]] = {}
    for copy, (original, kind) in copies.items():
        hits.setdefault(kind, []).append(frozenset([("test", copy), ("train", original)]) in pairs)
    return {
        "images": sum(len(split) for split in data.splits().values()),
        "seconds": seconds,
        **{kind: sum(found) / len(found) for kind, found in hits.items()},
        "pairs not planted": len(others),
    }


def draw_sheet(data: Dataset, pairs: list[list[tuple[str, str]]], path: Path, most: int = 400) -> None:
    """The images of each pair side by side, enlarged."""
    splits = data.splits()
    row = {(name, str(sample)): at for name, split in splits.items() for at, sample in enumerate(split.ids.tolist())}
    tiles: list[NDArray[np.uint8]] = []
    for pair in pairs[:most]:
        images = [splits[place[0]].images[torch.tensor([row[place]])][0].numpy() for place in pair]
        both = np.concatenate([image.repeat(3, 0) if len(image) == 1 else image for image in images], 2)
        tile = Image.fromarray(both.transpose(1, 2, 0)).resize((128, 64), Image.Resampling.NEAREST)
        tiles.append(np.pad(np.array(tile), ((0, 6), (0, 12), (0, 0)), constant_values=255))
    if tiles:
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 10)
        lines = [np.concatenate(tiles[at : at + 10], 1) for at in range(0, len(tiles), 10)]
        Image.fromarray(np.concatenate(lines)).save(path)


def measure_labels(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Return the precision and recall of each rule for labels swapped with this seed."""
    from cleanlab.filter import find_label_issues

    draw = np.random.default_rng(seed)
    data = lenext.load("mnist", data_dir=folder)
    train = data.train.take(torch.from_numpy(draw.permutation(len(data.train))[:LABELLED]))
    labels = train.labels.numpy().copy()
    wrong = np.zeros(LABELLED, dtype=np.bool_)
    wrong[draw.choice(LABELLED, LABELLED // 20, replace=False)] = True
    labels[wrong] = (labels[wrong] + draw.integers(1, 10, int(wrong.sum()))) % 10
    data = replace(data, train=replace(train, labels=torch.from_numpy(labels)))
    begun = time.perf_counter()
    probabilities = out_of_fold_probabilities(data, plan_search(DEFAULT_NETWORK, DEFAULT_EPOCHS))
    seconds = time.perf_counter() - begun
    suspects = {f"lenext, {name}": rule(probabilities, labels) for name, rule in RULES.items()}
    for rule in ("prune_by_noise_rate", "both", "confident_learning", "low_self_confidence"):
        suspects[f"cleanlab, {rule}"] = find_label_issues(labels, probabilities, filter_by=rule, n_jobs=1)
    return [
        {
            "rule": name, "seed": seed, "suspect": int(suspect.sum()),
            "precision": float((suspect & wrong).sum() / suspect.sum()),
            "recall": float((suspect & wrong).sum() / wrong.sum()), "s of training": seconds,
        }
        for name, suspect in suspects.items()
    ]  # fmt: skip


def main(folder: Path, sheets: Path | None) -> None:
    columns = {name: measure_copies(name, folder, sheets) for name in DATA}
    kinds = list(dict.fromkeys(kind for column in columns.values() for kind in column))
    rows = [{"recall": kind, **{name: column.get(kind, "") for name, column in columns.items()}} for kind in kinds]
    report("audit-copies", rows, {})
    rules = [row for seed in SEEDS for row in measure_labels(folder, seed)]
    means = {}
    for name in dict.fromkeys(row["rule"] for row in rules):
        precision, recall = (fmean(row[key] for row in rules if row["rule"] == name) for key in ("precision", "recall"))
        means[f"{name}: mean precision and recall"] = f"{precision:.3f} and {recall:.3f}"
    report("audit-labels", rules, means)


if __name__ == "__main__":
    chosen = sys.argv.index("--sheets") if "--sheets" in sys.argv else None
    main(Path(sys.argv[1]), Path(sys.argv[chosen + 1]) if chosen else None)
