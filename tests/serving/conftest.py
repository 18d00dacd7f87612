"""A service in processes of its own, as `lenext serve` starts it, for networks with initial weights."""

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import lenext
from lenext.data.preprocessing import Preprocessing
from lenext.foundation.normalization import Normalization
from lenext.runs.weights import Description, save

START_SECONDS, END_SECONDS = 180.0, 30.0  # the machine may be busy
DIGITS = tuple("0123456789")
ANIMALS = ("cat", "dog", "größter Vogel")


def write_weights(
    path: Path, *, classes: tuple[str, ...] = DIGITS, channels: int = 1, side: int = 28, seed: int = 0
) -> Path:
    """Write a network with initial weights, large enough that its answers differ."""
    torch.manual_seed(seed)
    name = "lenet" if channels == 1 else "resnet18_32px"
    options = {"in_channels": channels, "num_classes": len(classes)}
    network = lenext.create(name, **options).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.5)
    prepare = Preprocessing(
        channels, (side, side), "crop", (side, side), "interpolate", Normalization((0.3,) * channels, (0.3,) * channels)
    )
    save(path, network, Description(name, options, classes, prepare))
    return path


def make_image(height: int = 28, width: int = 28, mode: str = "L", format: str = "PNG", seed: int = 0) -> bytes:
    """A file of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(file, format)
    return file.getvalue()


@dataclass
class Service:
    """A service at work.

    Attributes:
        process: Its supervisor.
        port: Of its address.
        errors: The file of what it reports.
    """

    process: "subprocess.Popen[str]"
    port: int
    errors: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes, the oldest first."""
        workers = []
        for each in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # it has ended
                if "spawn_main" in " ".join(each.cmdline()):
                    workers.append(each)
        return sorted(workers, key=lambda each: each.pid)

    @property
    def reported(self) -> str:
        return self.errors.read_text()

    def ask(
        self, path: str, body: bytes | None = None, method: str = "", timeout: float = 60, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = {key.replace("_", "-"): value for key, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Return an answer in JSON; its status must be 200."""
        status, _, content = self.ask(path, body, **headers)
        assert status == 200, content
        return json.loads(content)

    def refusal(self, path: str, body: bytes | None = None, method: str = "", **headers: str) -> tuple[int, str]:
        """Return the status and the line with which a request is refused."""
        status, _, content = self.ask(path, body, method, **headers)
        assert 400 <= status < 500, content
        words = json.loads(content)["error"]
        assert words
        assert "\n" not in words
        return status, words

    def counts(self) -> dict[str, float]:
        """Return its metrics by name and labels."""
        _, _, content = self.ask("/metrics")
        lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def wait_for(self, words: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has reported something."""
        until = time.monotonic() + seconds
        while words not in self.reported:
            assert time.monotonic() < until, self.reported
            assert self.process.poll() is None, self.reported
            time.sleep(0.05)

    def end(self, number: int = signal.SIGINT) -> int:
        """End it, and return its code."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


def start(*arguments: str, environment: dict[str, str] | None = None) -> Service:
    """Start `lenext serve`, and wait until it answers."""
    number, name = tempfile.mkstemp(prefix="lenext-test-serve-")
    errors = Path(name)
    with open(number, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "lenext", "serve", "--port=0", *arguments],
            stdout=subprocess.PIPE, stderr=file, text=True, env=os.environ | (environment or {}),
        )  # fmt: skip
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if found := re.search(r"serving at http://.*:(\d+) with", line):
            return Service(process, int(found[1]), errors)
    raise AssertionError(f"{printed}{errors.read_text()}")


def stop(service: Service) -> None:
    """End a service, whatever state it is in, and check that it found no defect of its own."""
    children = psutil.Process(service.process.pid).children() if service.process.poll() is None else []
    service.process.kill()
    service.process.wait()
    if service.process.stdout:
        service.process.stdout.close()
    for child in children:
        child.kill()
    reported = service.reported
    service.errors.unlink()
    assert "Traceback" not in reported


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `digits.safetensors`, `animals.safetensors` and `digits.onnx`."""
    folder = tmp_path_factory.mktemp("served")
    write_weights(folder / "digits.safetensors")
    write_weights(folder / "animals.safetensors", classes=ANIMALS, channels=3, side=32)
    lenext.export(folder / "digits.safetensors", out=folder / "digits.onnx", unverified=True, quiet=True)
    return folder


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    """A service of three models with two workers."""
    service = start(
        str(models / "digits.safetensors"), "--model", f"animals={models / 'animals.safetensors'}",
        "--model", f"exported={models / 'digits.onnx'}", "--workers=2", "--queue=96",
    )  # fmt: skip
    yield service
    stop(service)
