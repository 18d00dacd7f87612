"""The studio with 200 runs, and with 50 pages open at once: python -m benchmarks.studio [SECONDS].

The runs are copies of one that was trained for two epochs. Each of the 50 clients does what an open page does: it
listens for news, and asks for the table, a run, an image or a prediction, a few times a second, while a training is
in progress. The memory is that of the server's process.
"""

import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
from PIL import Image
from playwright.sync_api import sync_playwright

import lenext
from benchmarks.harness import report, spread

RUNS, CLIENTS, OPENINGS = 200, 50, 5
PAUSE_SECONDS = 1.0  # between two requests of a client
PATHS = (
    "/api/runs", "/api/runs/run-7", "/", "/static/runs.js", "/api/form?network=resnet18_32px",
    "/api/data/images?source=digits&page=2", "/data/image?source=digits&row=9", "/data/augmented?source=digits&row=9",
    "/runs/run-3/report.html", "/api/audits",
)  # fmt: skip


class Server:
    """`lenext studio` of a folder."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "lenext", "studio", "--no-browser", "--port=0", f"--runs-dir={folder}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.split("/")[2].partition(":")[2])
        self.token = self.address.partition("token=")[2]

    @property
    def megabytes(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Ask, and return the status and the content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"authorization": f"Bearer {self.token}", "content-type": kind}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@dataclass
class Load:
    """What 50 clients have seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    news: int = 0
    failures: list[str] = field(default_factory=list)


def listen(server: Server, load: Load, until: float) -> None:
    """Listen for news, as an open page does."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/api/events", headers={"authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    while time.monotonic() < until:
        load.news += answer.readline().startswith(b"data:")
    connection.close()


def ask(server: Server, load: Load, number: int, until: float, image: bytes) -> None:
    """Ask for one thing after another, as a user's clicks do."""
    turn = number
    while time.monotonic() < until:
        begun = time.perf_counter()
        try:
            drawn = turn % 5 == 0
            path = "/api/runs/run-1/predict?drawn=1" if drawn else PATHS[turn % len(PATHS)]
            status, _ = server.ask(path, image if drawn else None, "image/png" if drawn else "application/json")
            load.statuses[status] += 1
            load.seconds.append(time.perf_counter() - begun)
        except OSError as error:
            load.failures.append(repr(error))
        turn += 1
        time.sleep(PAUSE_SECONDS)


def make_runs(folder: Path) -> bytes:
    """Make the runs, and return an image to predict."""
    run = lenext.train("lenet", "digits", epochs=2, runs_dir=folder, name="run-0", quiet=True)
    for number in range(1, RUNS):
        shutil.copytree(run.path, folder / f"run-{number}")
    content = io.BytesIO()
    Image.effect_noise((280, 280), 40).save(content, "PNG")
    return content.getvalue()


def openings(folder: Path) -> list[dict[str, float]]:
    """Return the seconds until a browser shows all runs of a server that has just begun, and once more."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(OPENINGS):
            server = Server(folder)
            page, shown = browser.new_page(), []
            for address in (server.address, server.address.partition("?")[0]):
                begun = time.perf_counter()
                page.goto(address)
                page.locator(f"tbody tr:nth-child({RUNS})").wait_for()
                shown.append(time.perf_counter() - begun)
            found.append(dict(zip(("first", "again"), shown, strict=True)))
            page.close()
            server.end()
        browser.close()
    return found


def load_of(folder: Path, seconds: float, image: bytes) -> dict[str, Any]:
    """Return what 50 clients saw in so many seconds, and the memory before and after."""
    server, load = Server(folder), Load()
    form = {"network": "lenet", "data": "digits", "name": "trained", "keys": {"epochs": "100000", "threads": "1"}}
    number = json.loads(server.ask("/api/trainings", json.dumps(form).encode())[1])["number"]
    for path in PATHS * 3:
        server.ask(path)
    server.ask("/api/runs/run-1/predict?drawn=1", image, "image/png")
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=listen, args=(server, load, until)) for _ in range(CLIENTS)]
    threads += [threading.Thread(target=ask, args=(server, load, each, until, image)) for each in range(CLIENTS)]
    memory = []
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        time.sleep(seconds / 30)
        memory.append(server.megabytes)
    for thread in threads:
        thread.join()
    server.ask("/api/runs/trained/stop", b"{}")
    while json.loads(server.ask(f"/api/commands/{number}")[1])["state"] == "running":
        time.sleep(0.2)
    server.end()
    assert not load.failures, load.failures[:3]
    third = len(memory) // 3
    before, after = median(memory[third : 2 * third]), median(memory[-third:])
    return {
        "seconds": seconds, "requests": sum(load.statuses.values()), "news": load.news,
        "answers by status": ", ".join(f"{count:,} x {key}" for key, count in sorted(load.statuses.items())),
        "answers >= 500": sum(count for status, count in load.statuses.items() if status >= 500),
        "an answer (ms)": 1000 * median(load.seconds), "95 % within (ms)": 1000 * quantiles(load.seconds, n=20)[-1],
        "memory (MB), second third": before, "last third": after, "growth": after / before - 1,
    }  # fmt: skip


def main() -> None:
    """Measure, and write the table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = make_runs(folder)
        opened = openings(folder)
        load = load_of(folder, seconds, image)
    opening = {name: spread([each[name] for each in opened]) for name in opened[0]}
    rows = [
        {"what": f"{RUNS} runs: {what}, s", "median": found["median"], "from": found["low"], "to": found["high"]}
        for what, found in zip(("until the page of a new server shows them", "again"), opening.values(), strict=True)
    ]
    rows += [{"what": f"{CLIENTS} pages: {key}", "median": value} for key, value in load.items()]
    report("studio", rows, {})


if __name__ == "__main__":
    main()
