"""The service under 50 clients, with 5 % hostile bodies: python -m benchmarks.serving_load [SECONDS] [WORKERS ...].

Every answer is compared with that of `predict`, the metrics with the clients' own counts, and the memory of the workers
in the last third with that in the second. The first number of workers gets SECONDS (600), the others a tenth of it.
"""

import base64
import http.client
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image

import lenext
from benchmarks.harness import report
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.normalization import Normalization
from lenext.runs.weights import Description, save

CLIENTS, HOSTILE_SHARE, IMAGES = 50, 0.05, 40
SIDE = 28
KINDS = (("RGB", "JPEG"), ("RGB", "PNG"), ("L", "JPEG"), ("RGBA", "PNG"), ("P", "GIF"), ("RGB", "WEBP"))


def make_photographs() -> list[bytes]:
    """Files of many sizes, modes and formats."""
    photographs, choose = [], random.Random(0)
    for number in range(IMAGES):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        size = (choose.choice((20, 32, 64, 200, 500, 900)), choose.choice((20, 32, 64, 300, 700)))
        mode, kind = choose.choice(KINDS)
        file = io.BytesIO()
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, kind)
        photographs.append(file.getvalue())
    return photographs


def make_hostile() -> list[tuple[str, bytes, dict[str, str]]]:
    """Requests that must be refused: path, body, headers."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    truncated = make_photographs()[0]
    form, as_json = {"content-type": "multipart/form-data; boundary=x"}, {"content-type": "application/json"}
    return [
        ("/predict", b"", {}), ("/predict", random.Random(0).randbytes(20_000), {}), ("/predict", bomb.getvalue(), {}),
        ("/predict", truncated[: len(truncated) // 2], {}), ("/predict", b"--x\r\n" * 20_000, form),
        ("/predict", b"[" * 50_000, as_json),
        ("/predict", json.dumps([base64.b64encode(b"x").decode()] * 65).encode(), as_json),
        ("/predict?top=" + "9" * 2000, truncated, {}), ("/v2/models/model/infer", b'{"inputs": [{}]}', as_json),
        ("/predict", b"GIF89a" + b"\xff" * 3000, {}), ("/predict", b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\0" * 900, {}),
        ("/predict", b"x" * 3_000_000, {}),
    ]  # fmt: skip


class Client(threading.Thread):
    """A client with one connection."""

    def __init__(
        self, number: int, port: int, expected: list[Any], photographs: list[bytes], hostile: list[Any], end: float
    ) -> None:
        super().__init__()
        self.choose, self.port, self.end = random.Random(number), port, end
        self.expected, self.photographs, self.hostile = expected, photographs, hostile
        self.statuses: Counter[int] = Counter()
        self.by_route: Counter[tuple[str, int]] = Counter()
        self.largest = 0.0
        self.latencies: list[float] = []
        self.lost = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while time.monotonic() < self.end:
            place = self.choose.randrange(IMAGES)
            path, body, headers = "/predict?top=10", self.photographs[place], {"content-type": "image/any"}
            is_hostile = self.choose.random() < HOSTILE_SHARE
            if is_hostile:
                path, body, headers = self.choose.choice(self.hostile)
            began = time.perf_counter()
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.lost += 1
                connection.close()
                continue
            self.latencies.append(time.perf_counter() - began)
            self.statuses[answer.status] += 1
            route = "/predict" if path.startswith("/predict") else "/v2/models/{name}/infer"
            self.by_route[route, answer.status] += 1
            if answer.status == 200 and not is_hostile:
                (found,) = json.loads(content)
                shares = dict(zip(found["classes"], found["probabilities"], strict=True))
                self.largest = max(
                    self.largest, max(abs(shares[name] - value) for name, value in self.expected[place].items())
                )
        connection.close()


def measure(folder: Path, weights: Path, workers: int, seconds: float) -> list[dict[str, Any]]:
    photographs, hostile, paths = make_photographs(), make_hostile(), []
    for place, content in enumerate(photographs):
        paths.append(folder / f"{place:02d}.img")
        paths[-1].write_bytes(content)
    predictions = lenext.predict(weights, *paths, top=10, precision="fp32")
    expected = [dict(zip(each.classes, each.probabilities, strict=True)) for each in predictions]  # type: ignore[union-attr]
    service = subprocess.Popen(
        [sys.executable, "-m", "lenext", "serve", f"--model=model={weights}", "--port=0", f"--workers={workers}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert service.stdout
    port = next(int(found[1]) for line in service.stdout if (found := re.search(r"http://.*:(\d+) ", line)))
    processes = [each for each in psutil.Process(service.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    end = time.monotonic() + seconds
    clients = [Client(number, port, expected, photographs, hostile, end) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    memory: list[float] = []
    while any(client.is_alive() for client in clients):
        time.sleep(min(2.0, seconds / 30))
        memory.append(sum(each.memory_info().rss for each in processes) / 1e6)
    for client in clients:
        client.join()
    statuses: Counter[int] = sum((client.statuses for client in clients), Counter())
    by_route: Counter[tuple[str, int]] = sum((client.by_route for client in clients), Counter())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    metrics = connection.getresponse().read().decode()
    counted = {
        (route, int(code)): int(float(value))
        for code, route, value in re.findall(r'lenext_requests_total\{code="(\d+)",route="([^"]+)"\} (\S+)', metrics)
    }
    replaced = sum(not each.is_running() for each in processes)
    service.terminate()
    code = service.wait(30)
    third = len(memory) // 3
    latencies = np.array([each for client in clients for each in client.latencies]) * 1000
    figures = {
        "seconds": seconds, "requests": sum(statuses.values()),
        "answers by status": ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items())),
        "answers >= 500 but 503": sum(count for status, count in statuses.items() if status >= 500 and status != 503),
        "connections lost": sum(client.lost for client in clients),
        "largest difference from predict": f"{max(client.largest for client in clients):.1e}",
        "requests counted otherwise by /metrics": sum(
            abs(counted.get(key, 0) - by_route.get(key, 0)) for key in counted.keys() | by_route.keys()
        ),
        "memory of the workers (MB), second third": round(mean(memory[third : 2 * third]), 1),
        "last third": round(mean(memory[2 * third :]), 1),
        "growth (%)": round(100 * (mean(memory[2 * third :]) / mean(memory[third : 2 * third]) - 1), 2),
        "workers that were replaced": replaced, "code at the end": code,
        "p50 (ms)": round(float(np.percentile(latencies, 50)), 1),
        "p99 (ms)": round(float(np.percentile(latencies, 99)), 1),
    }  # fmt: skip
    return [{"workers": workers, "what": what, "figure": figure} for what, figure in figures.items()]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    numbers = [int(each) for each in sys.argv[2:]] or [2, 1, 4]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        options = {"in_channels": 3, "num_classes": 10}
        prepare = Preprocessing(3, (SIDE, SIDE), "crop", (SIDE, SIDE), "crop", Normalization((0.5,) * 3, (0.25,) * 3))
        weights = folder / "model.safetensors"
        save(
            weights,
            lenext.create("lenet", in_channels=3, num_classes=10).eval(),
            Description("lenet", options, tuple("abcdefghij"), prepare),
        )
        for place, workers in enumerate(numbers):
            rows += measure(folder, weights, workers, seconds if place == 0 else seconds / 15)
            print(rows[-16:], flush=True)
    report("serving-load", rows, {"clients": CLIENTS, "hostile share": HOSTILE_SHARE})


if __name__ == "__main__":
    main()
