"""The service beside others, for the same network by the same engine: python -m benchmarks.serving [SECONDS].

32 clients, each with a connection, send a JPEG again as soon as they have their answer; the client is one process on
the same machine, and its own time is reported. Services are measured in turn, in several rounds. `engine` is what the
engine does alone, with decoding, in as many processes as the service has workers. `python -m benchmarks.serving engine
FILE SECONDS` is one of these. The peers need fastapi and litserve (`pip install -e .[bench]`).
"""

import base64
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
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
from lenext.serving.models import ServedModel
from lenext.serving.options import DEFAULTS
from lenext.serving.settings import ServiceSettings, Source

CLIENTS, ROUNDS, PORT, START_SECONDS = 32, 3, 8931, 120.0
WORKERS = 2
CASES = {  # network: (height, width) as stored, that of the input, channels, (height, width) of the photograph
    "lenet": ((28, 28), (28, 28), 1, (28, 28)),
    "resnet18_32px": ((32, 32), (32, 32), 3, (32, 32)),
    "resnet18": ((256, 256), (224, 224), 3, (375, 500)),
}
SERVICES = {
    "lenext": "image",
    "lenext, one worker": "image",
    "FastAPI, form": "form",
    "FastAPI, bytes": "image",
    "LitServe": "json",
}


def make_photograph(size: tuple[int, int], channels: int) -> bytes:
    """A JPEG that has about as many bytes as a photograph of its size."""
    height, width = size
    noise = np.random.default_rng(0).integers(0, 255, (height // 4, width // 4, channels), dtype=np.uint8)
    image = Image.fromarray(noise[..., 0] if channels == 1 else noise).resize((width, height))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def make_body(photograph: bytes, kind: str) -> tuple[bytes, bytes]:
    """A request's media type and body."""
    if kind == "form":
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        return b"multipart/form-data; boundary=x", head + photograph + b"\r\n--x--\r\n"
    if kind == "json":
        return b"application/json", json.dumps({"image": base64.b64encode(photograph).decode()}).encode()
    return b"image/jpeg", photograph


class Clients:
    """Connections that ask again as soon as they are answered."""

    def __init__(self, port: int, request: bytes) -> None:
        self.request, self.selector = request, selectors.DefaultSelector()
        self.latencies: list[float] = []
        for _ in range(CLIENTS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(connection, selectors.EVENT_READ, [0.0, b""])

    def run(self, seconds: float) -> dict[str, float]:
        """Ask for some seconds; return answers a second, their latencies, and the client's own time for one."""
        self.latencies.clear()
        own, end = time.process_time(), time.perf_counter() + seconds
        keys = list(self.selector.get_map().values())
        for key in keys:
            self.ask(key)
        left = len(keys)
        while left:
            for key, _ in self.selector.select(60):
                if self.take(key):
                    if time.perf_counter() < end:
                        self.ask(key)
                    else:
                        left -= 1
        count = len(self.latencies)
        p50, p99 = np.percentile(self.latencies, [50, 99])
        return {
            "rate": count / seconds, "p50": 1000 * p50, "p99": 1000 * p99,
            "client": (time.process_time() - own) / count,
        }  # fmt: skip

    def ask(self, key: Any) -> None:
        key.data[0] = time.perf_counter()
        key.fileobj.sendall(self.request)

    def take(self, key: Any) -> bool:
        """Read a piece of an answer; return whether it was the last."""
        key.data[1] += key.fileobj.recv(1 << 16)
        head, found, body = key.data[1].partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) < length:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a service answered: {key.data[1][:300]!r}")
        key.data[1] = b""
        self.latencies.append(time.perf_counter() - key.data[0])
        return True

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def command(service: str, weights: Path, network: Path, port: int) -> list[str]:
    """The command that starts a service."""
    if service.startswith("lenext"):
        workers = 1 if "one" in service else WORKERS
        return [
            "-m", "lenext", "serve", str(weights), f"--port={port}", f"--workers={workers}", "--engine=onnxruntime"
        ]  # fmt: skip
    who = {"FastAPI, form": "plain", "FastAPI, bytes": "loop", "LitServe": "litserve"}[service]
    return ["-m", "benchmarks.serving_peers", who, str(network), str(port)]


def wait_until_up(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            time.sleep(8)  # LitServe listens before its workers have their models
            return
    raise SystemExit("a service did not start")


def measure_service(service: str, weights: Path, network: Path, photograph: bytes, seconds: float) -> dict[str, float]:
    """Start a service, ask it, and end it."""
    port = PORT + list(SERVICES).index(service)
    kind, body = make_body(photograph, SERVICES[service])
    request = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
        kind, len(body),
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *command(service, weights, network, port)],
        stdout=subprocess.DEVNULL, start_new_session=True,
        stderr=None if "--errors" in sys.argv else subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_up(port, process)
        clients = Clients(port, request + body)
        clients.run(min(2.0, seconds))
        measured = clients.run(seconds)
        clients.close()
        return measured
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def open_model(weights: str, threads: int) -> ServedModel:
    torch.set_num_threads(threads)
    return ServedModel(Source("model", weights), ServiceSettings(engine="onnxruntime"))


def run_engine(weights: str, photograph: bytes, seconds: float) -> None:
    """Decode and compute in batches, without a server; print the images a second."""
    model = open_model(weights, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        images = [
            model.decode(model.open_image("image", photograph, DEFAULTS), DEFAULTS).pixels
            for _ in range(model.max_batch)
        ]
        model.predictor(torch.from_numpy(np.stack(images)))
        count += len(images)
    print(count / (time.perf_counter() - began), flush=True)


def measure_engine(weights: Path, case: str, seconds: float) -> dict[str, float]:
    """What the engine does alone, in all processes together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", "engine", str(weights), case, str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(WORKERS)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return {"rate": sum(float(process.communicate()[0]) for process in processes)}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else 4.0
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case, (stored, size, channels, file_size) in CASES.items():
            weights, network = Path(folder, f"{case}.safetensors"), Path(folder, f"{case}.onnx")
            torch.manual_seed(0)
            module = lenext.create(case, in_channels=channels, num_classes=10).eval()
            prepare = Preprocessing(
                channels, stored, "crop", size, "crop", Normalization((0.5,) * channels, (0.25,) * channels)
            )
            options = {"in_channels": channels, "num_classes": 10}
            save(weights, module, Description(case, options, tuple("abcdefghij"), prepare))
            lenext.export(weights, out=network, network_only=True, unverified=True, quiet=True)
            photograph = make_photograph(file_size, channels)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in ("engine", *SERVICES)}
            for _ in range(ROUNDS):
                found["engine"].append(measure_engine(weights, case, seconds))
                for service in SERVICES:
                    found[service].append(measure_service(service, weights, network, photograph, seconds))
            rates = {name: [each["rate"] for each in values] for name, values in found.items()}
            for name, values in found.items():
                ratios = [ours / other for ours, other in zip(rates["lenext"], rates[name], strict=True)]
                rows.append(
                    {
                        "network": case, "service": name, "images a second": round(median(rates[name]), 1),
                        "lenext is times as fast": round(median(ratios), 2),
                        "spread": f"{min(ratios):.2f} to {max(ratios):.2f}",
                        **(
                            {} if name == "engine" else {
                                f"{key} ms": round(float(median(each[key] for each in values)), 1)
                                for key in ("p50", "p99")
                            } | {"client us": round(1e6 * median(each["client"] for each in values))}
                        ),
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    report("serving", rows, {"clients": CLIENTS, "workers": WORKERS, "rounds": ROUNDS})


if __name__ == "__main__":
    if sys.argv[1:2] == ["engine"]:
        _, _, channels, file_size = CASES[sys.argv[3]]
        run_engine(sys.argv[2], make_photograph(file_size, channels), float(sys.argv[4]))
    else:
        main()
