"""Files made to run something, to write elsewhere, to fill the memory or to take for ever."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import lenext
from lenext.data import cifar
from lenext.data.pickles import read_pickle
from lenext.foundation.errors import ConfigurationError, DataError, LenextError, RunError
from lenext.models.pretrained import read_state
from lenext.runs import weights
from lenext.runs.signed import write_signed
from lenext.training.experiment import read_experiment
from lenext.workflows.open_weights import open_weights
from tests.hostile.formats import PREPARE, TINY, tiny

MEGABYTES = 512

MEASURED = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from tests.hostile.formats import ALL
from lenext.foundation.errors import LenextError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ALL[sys.argv[1]].read(Path(sys.argv[2]))
    print("read", end=" ")
except LenextError as error:
    print("refused", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def measured(kind: str, path: Path) -> tuple[str, int]:
    """Whether a file was read or refused in a process of its own, and how many megabytes that took."""
    command = [sys.executable, "-c", MEASURED, kind, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=60
    )
    assert done.returncode == 0, done.stderr
    how, size = done.stdout.split()
    return how, int(size)


def write_png(path: Path, width: int, height: int, kind: int, depth: int) -> None:
    """A blank PNG of any size, without having it in memory. kind: 0 grey, 2 RGB, 3 palette, 6 RGBA."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[kind]
    row = bytes(1 + width * channels * depth // 8)
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))]
    parts += [(b"PLTE", bytes(768)), (b"tRNS", bytes(256))] if kind == 3 else []
    parts += [(b"IDAT", content), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in parts:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


PNGS = {
    "grey": (0, 8), "deep grey": (0, 16), "RGB": (2, 8), "deep RGB": (2, 16), "palette": (3, 8), "RGBA": (6, 8),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("side", [6300, 8000, 30_000])
def test_large_png(tmp_path: Path, name: str, side: int) -> None:
    """Just allowed, and not allowed: 512 MB at the most."""
    write_png(tmp_path / "a.png", side, side if side < 10_000 else 50, *PNGS[name])
    if side == 30_000:
        write_png(tmp_path / "a.png", side, 3000, *PNGS[name])
    how, size = measured("png", tmp_path / "a.png")
    assert how == ("read" if side == 6300 else "refused")
    assert size < MEGABYTES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "side"), [("jpeg", 7900), ("jpeg", 8100), ("webp", 4400), ("webp", 4600), ("bmp", 6300), ("gif", 6300)]
)
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "RGBA"])
def test_large_images(tmp_path: Path, kind: str, side: int, mode: str) -> None:
    if (kind == "jpeg") != (mode in ("RGB", "CMYK")) and not (kind in ("webp", "bmp") and mode != "CMYK"):
        mode = "RGB" if kind != "gif" else "L"
    path = tmp_path / f"a.{kind}"
    Image.new(mode, (side, side)).save(path, kind)
    how, size = measured(kind, path)
    assert how == ("refused" if (kind, side) in (("jpeg", 8100), ("webp", 4600)) else "read")
    assert size < MEGABYTES


def zeros(path: Path, head: bytes, size: int, chunk: bytes = bytes(1 << 20)) -> Path:
    """A small gzipped file of so many bytes."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(head)
        for _ in range(size // len(chunk)):
            file.write(chunk)
    return path


@pytest.mark.slow
def test_bombs(tmp_path: Path) -> None:
    """Files of a few megabytes, or bytes, that would be gigabytes."""
    folder = tmp_path / "idx"
    folder.mkdir()
    count = 2_000_000
    zeros(folder / "train-images-idx3-ubyte.gz", struct.pack(">HBBIII", 0, 8, 3, count, 28, 28), count * 784)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + bytes(count))
    header = b"\x80\x04B" + struct.pack("<I", 1 << 30)
    row = b"0," * 784 + b"0\n"
    cases = [
        ("idx", folder / "train-images-idx3-ubyte.gz"),
        ("pickle-4", zeros(tmp_path / "a.pkl.gz", header, 1 << 30)),
        ("csv", zeros(tmp_path / "a.csv.gz", b"", 2 << 30, row * 500)),
        ("csv", zeros(tmp_path / "one.csv.gz", b"", 1 << 30, b"0," * (1 << 19))),
        ("csv", zeros(tmp_path / "line.csv.gz", b"0,0\n", 1 << 30, b"0" * (1 << 20))),
    ]
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("x", "y"):
            entry = tarfile.TarInfo(name)
            entry.size = 1 << 30
            tar.addfile(entry, Zeros(1 << 30))
    cases.append(("archive", archive))
    weights_file = tmp_path / "w.pt"
    torch.save(tiny().state_dict(), tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(weights_file, "w", zipfile.ZIP_DEFLATED) as bad:
        for one in good.infolist():
            bad.writestr(one.filename, bytes(1 << 30) if one.filename.endswith("/0") else good.read(one))
    cases.append(("pt", weights_file))
    for kind, path in cases:
        how, size = measured(kind, path)
        assert how == "refused", path
        assert size < MEGABYTES, (path, size)
        assert path.stat().st_size < 40 << 20


class Zeros(io.RawIOBase):
    """So many zeros, to be read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        take = min(size, self.left)
        self.left -= take
        return bytes(take)


def test_a_recipe_of_aliases(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 9)]
    path.write_text("\n".join([*lines, "epochs: *a8"]))
    with pytest.raises(ConfigurationError, match="aliases") as caught:
        read_experiment(path)
    assert len(str(caught.value)) < 500
    path.write_text("? &a [*a]\n: 1\n")
    with pytest.raises(ConfigurationError):
        read_experiment(path)
    path.write_text("a: 1\n" * 100_000)
    with pytest.raises(ConfigurationError, match="larger than any recipe"):
        read_experiment(path)


@pytest.mark.parametrize(
    "text",
    [
        "epochs: !!python/object/apply:os.system ['touch HERE']",
        "!!python/object/new:subprocess.Popen [['touch', 'HERE']]",
        "network: !!python/name:os.system",
        "data: !!python/module:os",
        "options: {activation: !!python/object/apply:eval ['1']}",
    ],
)
def test_a_recipe_runs_nothing(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="not YAML"):
        read_experiment(Path("r.yaml"))
    assert os.listdir() == ["r.yaml"]


DESCRIPTION = json.loads(weights.Description("lenet", TINY, ("a", "b", "c"), PREPARE).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"options": TINY | {"widths": [60_000, 60_000, 60_000, 60_000]}},
        {"options": TINY | {"widths": [10**12] * 4}},
        {"options": TINY | {"num_classes": 10**9}},
        {"options": TINY | {"in_channels": 10**9}},
        {"network": "resnet152", "options": {"in_channels": 3, "num_classes": 10**8}},
        {"network": "densenet201", "options": {"depths": [300, 300, 300, 300]}},
        {"network": "densenet121", "options": {"depths": [10**6] * 4}},
        {"network": "convnext_large", "options": {}},
        {"network": "os.system", "options": {}},
        {"network": "../x.py:Net"},
        {"network": 3},
        {"classes": []},
        {"classes": [1, 2, 3]},
        {"preprocessing": DESCRIPTION["preprocessing"] | {"image_size": [10**9, 10**9]}},
        {"preprocessing": DESCRIPTION["preprocessing"] | {"stored_size": [-1, 0]}},
        {"preprocessing": DESCRIPTION["preprocessing"] | {"normalization": {"mean": [float("nan")], "std": [0]}}},
        {"preprocessing": DESCRIPTION["preprocessing"] | {"channels": 10**9}},
        {"preprocessing": DESCRIPTION["preprocessing"] | {"resize": "sideways"}},
    ],
)
def test_a_description_asks_for_too_much(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "w.safetensors"
    write_signed(path, weights.KEY, json.dumps(DESCRIPTION | change), tiny().state_dict())
    image = tmp_path / "a.png"
    Image.new("L", (40, 40)).save(image)
    with pytest.raises(LenextError) as caught:
        open_weights(path)
        lenext.predict(path, image)
    assert "\n" not in str(caught.value)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    found.size = 3 if kind == tarfile.REGTYPE else 0
    return found


HOSTILE = {
    "above": [entry("../x")],
    "far above": [entry("a/../../../x")],
    "absolute": [entry("/tmp/lenext-x")],
    "absolute after good": [entry("x"), entry("y"), entry("/tmp/lenext-y")],
    "home": [entry("~/x"), entry("../y")],
    "symbolic link": [entry("x", tarfile.SYMTYPE, "/etc/passwd")],
    "symbolic link out": [entry("b", tarfile.SYMTYPE, ".."), entry("b/x")],
    "link to itself": [entry("x", tarfile.SYMTYPE, "x")],
    "hard link": [entry("x", tarfile.LNKTYPE, "/etc/passwd")],
    "hard link within": [entry("y"), entry("x", tarfile.LNKTYPE, "y")],
    "device": [entry("x", tarfile.CHRTYPE)],
    "block device": [entry("x", tarfile.BLKTYPE)],
    "pipe": [entry("x", tarfile.FIFOTYPE)],
    "folder and link": [entry("d", tarfile.DIRTYPE), entry("d/x", tarfile.SYMTYPE, "../../x"), entry("y")],
    "dots": [entry("./../x"), entry("y")],
    "backslash": [entry("..\\x"), entry("y")],
    "nothing wanted": [entry("z")],
    "one is missing": [entry("x")],
    "empty name": [entry(""), entry("x")],
    "contiguous": [entry("x", tarfile.CONTTYPE), entry("../y")],
    "too large": [],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", ["w", "w:gz", "w:xz"])
def test_hostile_archives(tmp_path: Path, name: str, packed: str) -> None:
    """No file appears anywhere, within the folder or outside of it."""
    archive = tmp_path / "place" / "a.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, packed) as tar:  # type: ignore[call-overload]
        for one in HOSTILE[name]:
            tar.addfile(one, io.BytesIO(b"abc") if one.size else None)
        if name == "too large":
            large = entry("x")
            large.size = 2000
            tar.addfile(large, io.BytesIO(bytes(2000)))
    with pytest.raises(DataError):
        cifar.unpack(archive, tmp_path / "place" / "out", {"x": 1000, "y": 1000})
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "a.tar"]
    assert not Path("/tmp/lenext-x").exists()
    assert not Path("/tmp/lenext-y").exists()


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def by_name(module: str, name: str, *arguments: str) -> bytes:
    """A pickle that calls a function by its name, in protocol 0."""
    pushed = b"".join(b"V" + one.encode() + b"\n" for one in arguments)
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n(" + pushed + b"tR."


GADGETS = [
    *(by_name(module, name, "touch HERE") for module, name in [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "call"), ("subprocess", "Popen"),
        ("builtins", "eval"), ("builtins", "exec"), ("__builtin__", "eval"), ("builtins", "__import__"),
        ("builtins", "getattr"), ("builtins", "open"), ("builtins", "compile"), ("builtins", "input"), ("pty", "spawn"),
        ("webbrowser", "open"), ("runpy", "run_path"), ("importlib", "import_module"), ("code", "interact"),
        ("pickle", "loads"), ("marshal", "loads"), ("shutil", "rmtree"), ("pathlib", "Path"), ("socket", "socket"),
        ("numpy", "load"), ("numpy", "fromfile"), ("numpy", "memmap"), ("numpy.core.multiarray", "fromfile"),
        ("numpy.testing._private.utils", "runstring"), ("numpy.f2py.crackfortran", "myeval"),
        ("numpy", "ndarray.tofile"),
        ("torch", "load"), ("torch.storage", "_load_from_bytes"), ("torch.hub", "load"), ("timeit", "timeit"),
        ("cProfile", "run"), ("doctest", "debug_script"), ("bdb", "Bdb"), ("pip", "main"), ("ctypes", "CDLL"),
        ("_codecs", "decode"), ("codecs", "encode"), ("functools", "partial"), ("operator", "attrgetter"),
        ("operator", "methodcaller"), ("types", "FunctionType"), ("builtins", "map"), ("builtins", "print"),
        ("asyncio.unix_events", "_UnixSubprocessTransport._start"), ("lib2to3.pgen2.pgen", "ParserGenerator"),
        ("idlelib.pyshell", "ModifiedInterpreter.runcode"), ("lenext.data.pickles", "ArrayStandIn"),
        ("lenext", "train"), ("numpy.core.multiarray", "_reconstruct\x00"), ("numpy", "dtype.type"),
        ("numpy._core.numeric", "_frombuffer.__globals__"),
    ]),
    b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x0aopen('x','w')\x85R.",  # STACK_GLOBAL
    b"(S'touch HERE'\nios\nsystem\n.",  # INST
    b"(cos\nsystem\nS'touch HERE'\no.",  # OBJ
    b"\x80\x02cos\nsystem\n)\x81.",  # NEWOBJ
    b"\x80\x02\x82\x01.", b"P0\n.", b"\x80\x02K\x01Q.", b"\x80\x05\x97.", b"\x80\x05\x98.",  # extensions, ids, buffers
    b"cnumpy\nndarray\n}(S'__class__'\nNub.",  # BUILD on a stand-in
    b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", b"cnumpy\ndtype\n(S'V1000000000'\nI0\nI1\ntR.",
    b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'x'\ntR.",
    pickle.dumps(Call(np.frombuffer, b"12345678")), pickle.dumps(np.array([object()], dtype=object)),
    pickle.dumps({1, 2}), pickle.dumps(Exception("x")), pickle.dumps(torch.nn.ReLU()), pickle.dumps(range(10**9)),
]  # fmt: skip


@pytest.mark.parametrize("content", GADGETS, ids=map(str, range(len(GADGETS))))
def test_gadgets(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.pkl").write_bytes(content)
    before = set(sys.modules)
    with pytest.raises(DataError) as caught:
        read_pickle(Path("a.pkl"))
    assert "\n" not in str(caught.value)
    assert os.listdir() == ["a.pkl"]
    new = {name for name in set(sys.modules) - before if not name.startswith("encodings.")}
    assert not new  # nothing was imported for it, but how text is spelled


@pytest.mark.parametrize("content", GADGETS[:12], ids=map(str, range(12)))
def test_gadgets_in_weights(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(content)
    with zipfile.ZipFile("w.pt", "w") as file:
        file.writestr("w/data.pkl", content)
        file.writestr("w/version", "3")
    for name in ("w.pth", "w.pt"):
        with pytest.raises(RunError):
            read_state(Path(name))
    assert sorted(os.listdir()) == ["w.pt", "w.pth"]


def test_weights_of_a_stranger_run_nothing(tmp_path: Path) -> None:
    """A description that names a file with code is no reason to run it."""
    (tmp_path / "net.py").write_text("open('HERE', 'w')")
    path = tmp_path / "w.safetensors"
    text = json.dumps(DESCRIPTION | {"network": f"{tmp_path / 'net.py'}:Net"})
    write_signed(path, weights.KEY, text, tiny().state_dict())
    with pytest.raises(RunError, match="a user-defined network"):
        open_weights(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.py", "w.safetensors"]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2Jbad\n\u202ename.csv"
    path.write_text("x")
    with pytest.raises(LenextError) as caught:
        lenext.load(path)
    assert str(caught.value).isprintable()


def test_headers_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    good = safetensors.torch.save(tiny().state_dict())
    for length in (0, 1, 2**31, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + good[8:])
        with pytest.raises(RunError):
            weights.load(path)
        with pytest.raises(RunError):
            read_state(path)
