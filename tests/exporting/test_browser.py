"""The exported file in a browser, by onnxruntime-web and the JavaScript of its model card."""

import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

import lenext
from lenext.runs.predict import Prediction
from tests.browser import IN_BROWSER

PACKAGE = "onnxruntime-web@1.30.0"
NEEDED = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of onnxruntime-web, from npm."""
    npm = shutil.which("npm")
    folder = tmp_path_factory.mktemp("npm")
    if npm is None or subprocess.run([npm, "pack", PACKAGE], cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("needs npm and its registry")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    return folder / "package" / "dist"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        extensions_map = SimpleHTTPRequestHandler.extensions_map | {
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def log_message(self, *_: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


@pytest.mark.parametrize(("network", "mode"), [("lenet", "L"), ("resnet18_32px", "RGB")])
def test_javascript_of_the_card(
    network: str, mode: str, runtime: Path, server: str, browser: Browser, tmp_path: Path
) -> None:
    settings = {"epochs": 1, "train_samples": 20, "runs_dir": tmp_path / "runs", "quiet": True}
    if mode == "RGB":
        random = np.random.default_rng(0)
        for place in range(40):
            path = tmp_path / "photos" / "ab"[place % 2] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    run = lenext.train(network, "digits" if mode == "L" else tmp_path / "photos", **settings)  # type: ignore[arg-type]
    made = lenext.export(run, quiet=True)
    shutil.copy(made.path, tmp_path)
    for name in NEEDED:
        shutil.copy(runtime / name, tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (45, 61) if mode == "L" else (45, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    code = re.search(r"```js\n(.*?)```", made.card.read_text(), re.DOTALL)
    assert code is not None
    script = code[1].replace("onnxruntime-web", "./ort.wasm.bundle.min.mjs")
    script = script.replace("const session", "ort.env.wasm.numThreads = 1;\nconst session", 1)
    (tmp_path / "page.html").write_text(
        f"<script type=module>{script}\nwindow.found = Array.from(probabilities.data);</script>"
    )
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server}/page.html")
    page.wait_for_function("window.found !== undefined", timeout=60_000)
    found = page.evaluate("window.found")
    page.close()
    assert not errors
    (expected,) = lenext.predict(run, tmp_path / "photo.png", top=10, precision="fp32")
    assert isinstance(expected, Prediction)
    for name, value in zip(expected.classes, expected.probabilities, strict=True):
        assert found[made.facts.description.classes.index(name)] == pytest.approx(value, abs=1e-5)
