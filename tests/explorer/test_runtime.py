"""onnxruntime-web in a page: where its package comes from, and what is refused. Its numbers are in test_page."""

import base64
import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import lenext
from lenext.explorer.onnx_graph import onnx_graph
from lenext.explorer.runtime import FOLDER, PACKAGE, PARTS, load_runtime
from lenext.explorer.tracing import trace
from lenext.foundation.errors import DownloadError


def write_package(folder: Path, parts: dict[str, bytes]) -> Path:
    """Write a package with these members."""
    path = folder / FOLDER / PACKAGE.name
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as package:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a small package of the right names."""
    path = write_package(tmp_path, {member: name.encode() for name, member in PARTS.items()})
    monkeypatch.setattr("lenext.explorer.runtime.PACKAGE", replace(PACKAGE, size=path.stat().st_size))
    return tmp_path


def test_the_parts_are_those_of_the_package(package: Path) -> None:
    parts = load_runtime(package, offline=True)
    assert {name: gzip.decompress(base64.b64decode(text)) for name, text in parts.items()} == {
        "script": b"script", "program": b"program",
    }  # fmt: skip


def test_the_page_has_the_runtime_and_may_run_it(package: Path) -> None:
    own, fast = (
        lenext.explore("lenet", out=package / f"{name}.html", quiet=True, **options).read_text()  # type: ignore[arg-type]
        for name, options in (("own", {}), ("fast", {"runtime": "ort", "data_dir": package, "offline": True}))
    )
    assert "wasm-unsafe-eval" not in own
    assert "runtime-program" not in own.replace('byId("runtime-program")', "")
    assert "script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:\"" in fast
    assert f'id="runtime-program">{load_runtime(package, offline=True)["program"]}<' in fast


def test_a_package_that_is_missing_or_broken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(DownloadError, match="--offline forbids downloading it"):
        lenext.explore("lenet", runtime="ort", data_dir=tmp_path, offline=True, out=out, quiet=True)
    for parts in ({}, {PARTS["script"]: b"x"}):
        path = write_package(tmp_path, parts)
        monkeypatch.setattr("lenext.explorer.runtime.PACKAGE", replace(PACKAGE, size=path.stat().st_size))
        with pytest.raises(DownloadError, match="not the package of onnxruntime-web; remove it"):
            lenext.explore("lenet", runtime="ort", data_dir=tmp_path, offline=True, out=out, quiet=True)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DownloadError, match="remove it"):
        lenext.explore("lenet", runtime="ort", data_dir=tmp_path, offline=True, out=out, quiet=True)
    assert not out.exists()


def test_the_graph_is_small_and_says_nothing_of_this_machine() -> None:
    network = lenext.create("lenet").eval()
    operations = trace(network, (1, 28, 28))
    entries = [
        {role: 10 * number + at for at, role in enumerate(each.tensors)} for number, each in enumerate(operations)
    ]
    content, weights = onnx_graph(operations, entries, (1, 28, 28))
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert [each.name for each in model.graph.input] == ["image", *(f"w{entry}" for entry in weights)]
    assert [each.name for each in model.graph.output] == [f"v{number + 1}" for number in range(len(operations))]
    assert len(content) < 20_000, "the weights are in it"
    assert str(Path.home()).encode() not in content
    assert b".py" not in content
