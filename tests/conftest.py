"""Shared by all tests: one thread, small generated data, figures that are not drawn, processes that start at once."""

import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; for the processes that tests start too

import hypothesis
import numpy as np
import pytest
import torch
import trustme
from matplotlib.figure import Figure
from PIL import Image

import lenext
from lenext.data.dataset import Dataset
from tests.browser import CHROMIUM
from tests.figures import DRAWN, UNDRAWN
from tests.recovery.fork_server import ForkServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
hypothesis.settings.register_profile("steady", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def undrawn_figures() -> Iterator[None]:
    """Save every figure as one pixel, except where a test asks for `drawn_figures`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, method in UNDRAWN.items():
            patch.setattr(Figure, name, method)
        yield


@pytest.fixture(scope="module")
def drawn_figures() -> Iterator[None]:
    """Draw figures as usual, from here to the end of the test module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, method in DRAWN.items():
            patch.setattr(Figure, name, method)
        yield


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Start the command line in processes that have everything imported."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, for the modules whose tests are marked IN_BROWSER."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Load scikit-learn's digits, 28 x 28."""
    return lenext.load("digits")


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    """Return 130 digits with a test set: enough for two batches of 64."""
    rows = torch.arange(130)
    assert digits.test is not None
    return Dataset("few", digits.classes, digits.train.take(rows), test=digits.test.take(rows[:40]))


def draw_image(label: int, size: tuple[int, int], seed: int) -> Image.Image:
    """Return a noisy colour image whose upper half is bright for label 0, and the lower half for label 1."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    half = height // 2
    noise[slice(0, half) if label == 0 else slice(half, None)] += 180
    return Image.fromarray(noise)


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of class folders: `photos("train/up", "train/down", count=10)`."""

    def make(*folders: str, count: int = 10, root: str = "photos") -> Path:
        base = tmp_path / root
        for place, folder in enumerate(folders):
            path = base / folder
            path.mkdir(parents=True)
            label = 0 if path.name in ("up", "a") else 1
            for number in range(count):
                size = (40 + 3 * number, 50 - 2 * number)
                image = draw_image(label, size, seed=100 * place + number)
                image.save(path / f"{number:02d}.{('png', 'jpg', 'webp', 'bmp')[number % 4]}")
        return base

    return make


class Quiet(BaseHTTPRequestHandler):
    """A request handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ThreadingHTTPServer]]:
    """Return a function that starts an HTTPS server with a self-made certificate: `https(Handler)`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("no_proxy", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    started: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.asked = []  # type: ignore[attr-defined]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()
