"""The file formats that strangers may send: for each a valid file, and the function of lenext that reads it."""

import gzip
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import lenext
from lenext.data import cifar
from lenext.data.images import FORMATS, read_image
from lenext.data.pickles import read_pickle
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.errors import LenextError
from lenext.foundation.normalization import Normalization
from lenext.models import create
from lenext.models.pretrained import load_state, read_state
from lenext.runs import checkpoint, weights
from lenext.runs.folder import Run
from lenext.runs.signed import write_signed
from lenext.workflows.listing import list_runs
from lenext.workflows.open_weights import open_weights
from lenext.workflows.prepare import build_experiment, resolve_experiment
from tests.data.makers import write_cifar, write_idx_folder, write_table

DRAW = np.random.default_rng(0)
PIXELS = DRAW.integers(0, 256, (6, 5, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
TINY = {"in_channels": 1, "num_classes": 3, "widths": [2, 3, 4, 5]}


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        make: Writes valid files into a folder and returns those to corrupt.
        read: Reads a file as a user would.
        text: Whether to mutate words rather than bytes.
        finish: Restores the outer form of a corrupted file, such as its signature.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    text: bool = False
    finish: Callable[[Path], None] | None = None


def idx(zipped: bool) -> Format:
    def make(folder: Path) -> list[Path]:
        write_idx_folder(folder, zipped=zipped)
        return sorted(folder.iterdir())

    return Format(make, lambda path: lenext.load(path.parent))


def table(zipped: bool) -> Format:
    def make(folder: Path) -> list[Path]:
        rows = [[label, *image.ravel().tolist()] for label, image in zip(LABELS, PIXELS, strict=True)]
        path = write_table(folder / "t.csv", rows, ["label", *(f"p{at}" for at in range(25))])
        if not zipped:
            return [path]
        (folder / "t.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        return [folder / "t.csv.gz"]

    return Format(make, lenext.load, text=not zipped)


def pickled(protocol: int) -> Format:
    def make(folder: Path) -> list[Path]:
        path = folder / "d.pkl"
        path.write_bytes(pickle.dumps(((PIXELS, LABELS), {"a": [1.5, None, "x", b"y"]}), protocol=protocol))
        return [path]

    return Format(make, read_pickle)


def cifar_batch(binary: bool) -> Format:
    def make(folder: Path) -> list[Path]:
        write_cifar(folder, pickled=not binary, count=3)
        return [folder / ("data_batch_1.bin" if binary else "data_batch_1")]

    return Format(make, cifar.read_binary if binary else cifar.read_pickled)


def image(kind: str) -> Format:
    def make(folder: Path) -> list[Path]:
        pixels = Image.fromarray(DRAW.integers(0, 256, (23, 31, 3), dtype=np.uint8))
        paths = []
        for at, mode in enumerate(("RGB", "L", "P") if kind in ("PNG", "GIF", "BMP") else ("RGB",)):
            paths.append(folder / f"{at}.{kind.lower()}")
            pixels.convert(mode).save(paths[-1], kind)
        if kind in ("PNG", "WEBP"):
            paths.append(folder / f"alpha.{kind.lower()}")
            pixels.convert("RGBA").save(paths[-1], kind)
        if kind == "JPEG":
            turned = Image.Exif()
            turned[0x0112] = 6
            paths.append(folder / "turned.jpeg")
            pixels.save(paths[-1], kind, exif=turned, progressive=True)
        return paths

    return Format(make, lambda path: read_image(path, 3, (16, 16)))


def recipes() -> Format:
    def make(folder: Path) -> list[Path]:
        path = folder / "r.yaml"
        path.write_text(
            "network: lenet\noptions:\n  activation: tanh\n  widths: [6, 16, 120, 84]\ndata: digits\n"
            "recipe:\n  epochs: 3\n  batch_size: 32\n  learning_rate: 1e-2\n  flip: auto\n  optimizer: adamw\n"
        )
        return [path]

    return Format(make, lambda path: resolve_experiment(build_experiment(str(path), {}, {})), text=True)


def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    return create("lenet", **TINY)


def published(suffix: str) -> Format:
    def make(folder: Path) -> list[Path]:
        path = folder / f"w{suffix}"
        if suffix == ".safetensors":
            import safetensors.torch

            safetensors.torch.save_file(tiny().state_dict(), path)
        else:
            torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=suffix == ".pt")
        return [path]

    return Format(make, lambda path: load_state(tiny(), read_state(path), "lenet"))


PREPARE = Preprocessing(1, (28, 28), "crop", (28, 28), "interpolate", Normalization((0.1,), (0.3,)))


def signed(kind: str, sign: bool) -> Format:
    """Return the format of lenext's files. sign: sign them again after corruption, as an attacker would."""

    def make(folder: Path) -> list[Path]:
        if kind == "weights":
            path = folder / "w.safetensors"
            weights.save(path, tiny(), weights.Description("lenet", TINY, ("a", "b", "c"), PREPARE))
        else:
            tree = {"state": {"network": dict(tiny().state_dict()), "records": [1, None]}, "seconds": 2.0}
            path = checkpoint.save(folder, tree, epoch=1, position=2)
        return [path]

    return Format(make, open_weights if kind == "weights" else checkpoint.load, finish=sign_again if sign else None)


def sign_again(path: Path) -> None:
    """Give a corrupted file the SHA-256 of its content."""
    import hashlib

    from lenext.runs.signed import SHA_PATTERN, ZEROS

    content = path.read_bytes()
    found = SHA_PATTERN.search(content)
    if found:
        start, end = found.span(1)
        blank = content[:start] + ZEROS.encode() + content[end:]
        path.write_bytes(content[:start] + hashlib.sha256(blank).hexdigest().encode() + content[end:])


def descriptions() -> Format:
    """Return the format of weights whose description is corrupted as text and signed again."""

    def make(folder: Path) -> list[Path]:
        path = folder / "d.json"
        path.write_text(weights.Description("lenet", TINY, ("a", "b", "c"), PREPARE).to_json())
        return [path]

    def read(path: Path) -> object:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return None
        write_signed(path.with_suffix(".safetensors"), weights.KEY, text, tiny().state_dict())
        return open_weights(path.with_suffix(".safetensors"))

    return Format(make, read, text=True)


def archives() -> Format:
    def make(folder: Path) -> list[Path]:
        path = folder / "a.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name in ("batches/x", "batches/y"):
                entry = tarfile.TarInfo(name)
                entry.size = 300
                tar.addfile(entry, io.BytesIO(bytes(300)))
        return [path]

    def read(path: Path) -> object:
        target = path.parent / "out"
        shutil.rmtree(target, ignore_errors=True)
        return cifar.unpack(path, target, {"x": 1000, "y": 1000})

    return Format(make, read)


def run_folders() -> Format:
    def make(folder: Path) -> list[Path]:
        run = lenext.train(
            "lenet", "digits", epochs=1, train_samples=60, runs_dir=folder, name="r", options={"widths": "2,3,4,5"},
            quiet=True, compile="no",
        )  # fmt: skip
        for path in run.path.glob("*.png"):
            path.unlink()
        return [run.path / name for name in ("recipe.yaml", "results.csv", "results.json", "environment.json")]

    def read(path: Path) -> object:
        list_runs(path.parents[1])
        run = Run.open(path.parent)
        seen: list[object] = []
        for look in (
            lambda: resolve_experiment(run.experiment),
            lambda: run.records,
            lambda: run.results.get("test"),
            lambda: lenext.report(run, offline=True),
            lambda: run.experiment.recipe.epochs > 3 or lenext.resume(run, quiet=True, offline=True),
        ):
            try:
                seen.append(look())
            except LenextError as error:
                check(error)
        return seen

    return Format(make, read, text=True)


def check(error: LenextError) -> None:
    """Check that a message is one line of limited length."""
    said = str(error)
    if "\n" in said or len(said) > 2000 or not said.strip():
        raise AssertionError(f"not one line: {said!r}")


ALL = {
    "idx": idx(False),
    "idx.gz": idx(True),
    "csv": table(False),
    "csv.gz": table(True),
    "pickle-2": pickled(2),
    "pickle-4": pickled(4),
    "cifar-binary": cifar_batch(True),
    "cifar-pickled": cifar_batch(False),
    **{kind.lower(): image(kind) for kind in FORMATS},
    "recipe": recipes(),
    "safetensors": published(".safetensors"),
    "pt": published(".pt"),
    "pth": published(".pth"),
    "weights": signed("weights", False),
    "weights-signed": signed("weights", True),
    "checkpoint-signed": signed("checkpoint", True),
    "description": descriptions(),
    "archive": archives(),
    "run": run_folders(),
}

WORDS = [
    "", "0", "-1", "1e400", ".nan", ".inf", "NaN", "Infinity", "null", "true", "[]", "{}", "9" * 40, "9" * 5000, "\0",
    "*a", "&a [1]", "!!python/object/apply:os.system ['true']", "[" * 2000, "é", "\u202e", "2001-01-01", "\n", "\t",
    "1:2:3", "{a: b}", "a" * 3000, ",", ";", '"', "'", "resnet152", "../../x", "/etc/passwd", "1_000", "0x7fffffff",
    "[1, 2, 3]", "65536", "4294967296", "depths: [300, 300]", "in_channels: 3", "https://localhost/x",
    "~", "lenet", json.dumps({"a": 1}),
]  # fmt: skip
