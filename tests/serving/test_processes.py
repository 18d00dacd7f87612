"""The processes of a service: killed workers, an orderly end, new models, and what keeps it from starting."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest

import lenext
from lenext.cli import run as run_command
from tests.serving.conftest import END_SECONDS, Service, make_image, start, stop, write_weights

SECONDS = 2.0  # of load
PATIENCE = 120.0


class Load:
    """Clients that ask all the time, and keep what became of each request."""

    def __init__(self, service: Service, clients: int = 8) -> None:
        self.service, self.ended, self.is_ready = service, False, True
        self.outcomes: Counter[str] = Counter()
        self.failed_after_unready: list[str] = []
        self.expected = {seed: service.get("/predict?top=10", make_image(seed=seed)) for seed in range(5)}
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, number: int) -> None:
        """Ask with one connection, renewed where it was lost, until told to end or the service is not ready."""
        choose = random.Random(number)
        connection = HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        while not self.ended and self.is_ready:
            seed = choose.randrange(5)
            try:
                connection.request("POST", "/predict?top=10", make_image(seed=seed))
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, HTTPException) as error:
                self.outcomes["lost"] += 1
                if not self.is_ready:
                    self.failed_after_unready.append(repr(error))
                connection.close()
                continue
            if answer.status != 200:
                self.outcomes[str(answer.status)] += 1
                continue
            (found,), (expected,) = content, self.expected[seed]
            same = found["classes"] == expected["classes"] and found["probabilities"] == pytest.approx(
                expected["probabilities"], abs=1e-5
            )
            self.outcomes["right" if same else "wrong"] += 1
        connection.close()

    def end(self) -> Counter[str]:
        self.ended = True
        for thread in self.threads:
            thread.join(PATIENCE)
        return self.outcomes


def wait_until(done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_workers_lose_only_their_own_requests(models: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2")
    try:
        load = Load(service)
        before = service.workers
        for _ in range(3):
            wait_until(lambda: len(service.workers) == 2 and service.counts().get("lenext_workers") == 2)
            time.sleep(0.5)
            service.workers[0].kill()
        wait_until(lambda: service.counts().get("lenext_workers") == 2)
        time.sleep(SECONDS)
        outcomes = load.end()
        assert set(outcomes) <= {"right", "lost"}, outcomes
        assert outcomes["lost"] <= 3 * 8, "a killed worker has at most all connections"
        assert outcomes["right"] > 100
        assert not {each.pid for each in before[:1]} & {each.pid for each in service.workers}
        assert "ended by signal 9; it is replaced" in service.reported
        assert service.counts()['lenext_requests_total{code="200",route="/predict"}'] >= outcomes["right"]
    finally:
        stop(service)


@pytest.mark.slow
def test_connections_are_shared_among_the_workers(models: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2")
    try:
        connections = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(40)]

        def counts() -> list[int]:
            return [
                sum(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections())
                for worker in service.workers
            ]

        wait_until(lambda: sum(counts()) == 40)
        assert min(counts()) >= 10, counts()
        for connection in connections:
            connection.close()
    finally:
        stop(service)


@pytest.mark.slow
def test_sigterm_under_load_fails_no_request(models: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2")
    try:
        load = Load(service)
        time.sleep(SECONDS)
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        while load.is_ready:  # as a load balancer would look
            load.is_ready = service.ask("/v2/health/ready")[0] == 200
        outcomes = load.end()
        assert set(outcomes) == {"right"}, outcomes
        assert not load.failed_after_unready
        assert service.process.wait(END_SECONDS) == 0
        assert time.monotonic() - began < 10 + END_SECONDS / 2  # ten seconds, and patience
        assert service.reported == ""
    finally:
        stop(service)


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_leaves_nothing(models: Path, tmp_path: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2", environment={"TMPDIR": str(tmp_path)})
    workers = service.workers
    assert list(tmp_path.glob("lenext-serve-*"))
    assert service.end() == 0
    assert not list(tmp_path.glob("lenext-serve-*"))
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers)
    assert service.reported == ""
    stop(service)


@pytest.mark.slow
def test_workers_end_when_their_supervisor_is_killed(models: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2")
    workers = service.workers
    service.process.kill()
    service.process.wait()
    psutil.wait_procs(workers, timeout=END_SECONDS)
    assert not any(each.is_running() for each in workers)
    stop(service)


@pytest.mark.slow
def test_a_stopped_worker_does_not_keep_the_other_from_answering(models: Path) -> None:
    service = start(str(models / "digits.safetensors"), "--workers=2")
    try:
        stopped = service.workers[0]
        stopped.suspend()
        for _ in range(20):
            assert service.get("/predict", make_image())
        stopped.resume()
    finally:
        stop(service)


@pytest.mark.slow
def test_new_models_are_taken_whole_or_not_at_all(models: Path, tmp_path: Path) -> None:
    run = write_weights(tmp_path / "served.safetensors", seed=1)
    service = start(str(run), "--workers=2")
    try:
        load_image = make_image(seed=3)
        first = service.get("/predict?top=10", load_image)
        version = service.get("/v2/models/served")["versions"]

        run.write_bytes(run.read_bytes()[:-7] + b"changed")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("not reloaded")
        assert [service.get("/predict?top=10", load_image) for _ in range(6)] == [first] * 6
        service.workers[0].kill()  # its successor has the verified copy, not the broken file
        wait_until(lambda: "it is replaced" in service.reported and service.counts().get("lenext_workers") == 2)
        assert [service.get("/predict?top=10", load_image) for _ in range(6)] == [first] * 6

        write_weights(run, seed=2)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("\nreloaded")
        (expected,) = lenext.predict(run, write_image(tmp_path, load_image), top=10, precision="fp32")
        assert not isinstance(expected, Exception)
        for _ in range(6):
            (answer,) = service.get("/predict?top=10", load_image)
            assert tuple(answer["classes"]) == expected.classes
        assert service.get("/v2/models/served")["versions"] != version
    finally:
        stop(service)


def write_image(folder: Path, content: bytes) -> Path:
    path = folder / "image.png"
    path.write_bytes(content)
    return path


@pytest.mark.slow
def test_a_worker_that_starts_during_a_reload_has_the_new_models(models: Path, tmp_path: Path) -> None:
    run = write_weights(tmp_path / "served.safetensors", seed=1)
    service = start(str(run), "--workers=2", environment={"TMPDIR": str(tmp_path)})
    try:
        before = service.get("/v2/models/served")["versions"]
        service.workers[0].kill()
        wait_until(lambda: "it is replaced" in service.reported)
        write_weights(run, seed=2)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("\nreloaded")
        assert before not in [service.get("/v2/models/served")["versions"] for _ in range(40)]
        (kept,) = tmp_path.glob("lenext-serve-*")
        assert len([each for each in kept.iterdir() if each.name.isdigit()]) == 1, "copies of old models are removed"
        shutil.rmtree(next(each for each in kept.iterdir() if each.name.isdigit()))
        service.workers[0].kill()  # its successors cannot open their copies, and are tried again
        service.wait_for("a new worker failed")
        assert service.get("/predict", make_image())
    finally:
        stop(service)


@pytest.mark.slow
def test_an_api_key_is_asked_for(models: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-secret\n")
    service = start(
        str(models / "digits.safetensors"), "--workers=1", f"--api-key-file={key}", "--origin=https://site.example"
    )
    try:
        for headers in (
            {},
            {"authorization": "Bearer a-secre"},
            {"x_api_key": "A-SECRET"},
            {"authorization": "Basic a-secret"},
        ):
            assert service.refusal("/predict", make_image(), **headers) == (401, "the API key is missing or wrong")
            assert service.refusal("/metrics", **headers)[0] == 401
            assert service.refusal("/v2/models/digits", **headers)[0] == 401
            assert service.refusal("/v2/models/digits", method="OPTIONS", **headers)[0] == 401
        for headers in ({"authorization": "bearer a-secret"}, {"x_api_key": "a-secret"}):
            assert service.get("/predict", make_image(), **headers)
        for path in ("/", "/docs", "/openapi.json", "/v2/health/ready", "/static/serve.js"):
            assert service.ask(path)[0] == 200
        assert "a-secret" not in " ".join(psutil.Process(service.process.pid).cmdline())
        site = {"origin": "https://site.example", "sec_fetch_site": "cross-site", "x_api_key": "a-secret"}
        _, headers, _ = service.ask("/predict", make_image(), **site)
        assert headers["access-control-allow-origin"] == "https://site.example"
        status, headers, _ = service.ask(
            "/predict", method="OPTIONS", origin="https://site.example", access_control_request_method="POST"
        )
        assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST")
        other = site | {"origin": "https://other.example"}
        assert service.refusal("/predict", make_image(), **other)[0] == 403
    finally:
        stop(service)


@pytest.mark.slow
def test_the_request_log_has_a_line_a_request_and_no_image(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    service = start(str(models / "digits.safetensors"), "--workers=2", f"--request-log={path}")
    try:
        for _ in range(20):
            service.get("/predict", make_image(), x_request_id="an-id")
        service.refusal("/predict?top=x", make_image())
    finally:
        stop(service)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 21
    (first, *_), last = lines, lines[-1]
    assert (first["id"], first["status"], first["model"], first["images"]) == ("an-id", 200, "digits", 1)
    assert (last["status"], last["route"]) == (400, "/predict")
    assert set(first) == {
        "time",
        "worker",
        "id",
        "client",
        "method",
        "route",
        "status",
        "ms",
        "model",
        "version",
        "images",
        "batch",
    }


@pytest.mark.slow
def test_a_full_queue_is_answered_503_and_counted(models: Path) -> None:
    service = start(str(models / "animals.safetensors"), "--workers=1", "--queue=2")
    try:
        outcomes: Counter[int] = Counter()
        retries, body = set(), make_image(1500, 1500, "RGB")

        def ask() -> None:
            for _ in range(20):
                status, headers, _ = service.ask("/predict", body)
                outcomes[status] += 1
                if status == 503:
                    retries.add(int(headers["retry-after"]) >= 1)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = service.counts()
        assert set(outcomes) == {200, 503}
        assert retries == {True}
        assert counts['lenext_refused_total{reason="queue"}'] == outcomes[503]
        assert counts['lenext_requests_total{code="503",route="/predict"}'] == outcomes[503]
        status, _, _ = service.ask("/predict", make_image(4000, 4000, "RGB"), x_request_timeout="0.001")
        assert status == 504
    finally:
        stop(service)


REFUSED: list[tuple[list[str], str]] = [
    ([], "name what to serve"), (["nowhere"], "there is no such run"), (["{digits}", "--port=70000"], "port=70000"),
    (["{digits}", "--port=x"], "port=x"), (["{digits}", "--workers=0"], "workers=0"),
    (["{digits}", "--queue=0"], "queue=0"), (["--model=x"], "NAME=RUN"), (["--model=a/b=x"], "NAME=RUN"),
    (["{digits}", "--model=digits={digits}"], "given twice"), (["{digits}", "--origin=site"], "origin=site"),
    (["{digits}", "--api-key-file=nowhere"], "nowhere: cannot be read"), (["{digits}", "--engine=tensorrt"], "engine"),
    (["{digits}", "--host=nowhere.invalid"], "host=nowhere.invalid: not an address"),
    (["{digits}", "--host=a..b"], "host=a..b: not an address"), (["{odd}"], "no name for a model"),
    (["{digits}", "--host=192.0.2.7"], "port=0: it cannot be used on 192.0.2.7"),
    (["{digits}", "--weights=last"], "one file of weights"),
    (["{digits}", "--request-log=/nowhere/log"], "/nowhere/log: cannot be written"),
]  # fmt: skip
REFUSED_BY_WORKERS: list[tuple[list[str], str]] = [
    (["{digits}", "--network=a.py:Net"], "remove network"), (["{broken}"], "broken.safetensors"),
    (["resnet18", "--pretrained", "--offline", "--data-dir={empty}"], "resnet18"),
    (["{onnx}", "--engine=onnxruntime", "--device=cpu"], "device=cpu"),
]  # fmt: skip
CASES = [pytest.param(*case, id=" ".join(case[0])) for case in REFUSED]
CASES += [pytest.param(*case, id=" ".join(case[0]), marks=pytest.mark.slow) for case in REFUSED_BY_WORKERS]


@pytest.mark.parametrize(("arguments", "words"), CASES)
def test_what_cannot_be_served_is_said_in_a_line(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "broken.safetensors").write_bytes((models / "digits.safetensors").read_bytes()[:-9])
    (tmp_path / "a\nb.safetensors").write_bytes(b"")
    names = {
        "digits": models / "digits.safetensors", "onnx": models / "digits.onnx", "empty": tmp_path,
        "broken": tmp_path / "broken.safetensors", "odd": tmp_path / "a\nb.safetensors",
    }  # fmt: skip
    given = [text.format(**names) for text in arguments]
    given += [option for option in ("--port=0", "--workers=1") if not any(option[:6] in text for text in given)]
    assert run_command(["serve", *given]) == 2
    errors = capfd.readouterr().err.strip().splitlines()
    assert len(errors) == 1, errors
    assert words in errors[0]


def test_a_port_in_use_is_named(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command(["serve", str(models / "digits.safetensors"), f"--port={port}"]) == 2
    assert f"port={port}: it cannot be used on 127.0.0.1" in capsys.readouterr().err


def test_a_missing_extra_is_named(models: Path) -> None:
    hide = "import sys; sys.modules['httptools'] = None; from lenext.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", hide, "serve", str(models / "digits.safetensors"), "--port=0"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "httptools" in found.stderr


@pytest.mark.slow
def test_a_run_is_served_with_its_remarks(tmp_path: Path) -> None:
    lenext.train("lenet", "digits", epochs=1, train_samples=300, runs_dir=tmp_path, name="digits", quiet=True)
    service = start(str(tmp_path / "digits"), "--workers=1", "--engine=torch")
    try:
        shutil.rmtree(tmp_path / "digits")  # what is served is a copy
        image = make_image(28, 28, "RGB", seed=5)
        answer = service.get("/predict?top=10", image)[0]
        assert any("unlike the training images" in remark for remark in answer["remarks"])
        assert answer["engine"] == "torch, fp32"
    finally:
        stop(service)


@pytest.mark.slow
def test_clients_that_vanish_leave_nothing_behind(models: Path) -> None:
    service = start(str(models / "animals.safetensors"), "--workers=1")
    try:
        body = make_image(2500, 2500, "RGB")
        head = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(head + body)
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(head + body[: len(body) // 2])
        wait_until(lambda: service.counts()["lenext_waiting_images"] == 0)
        assert service.get("/predict", make_image())
    finally:
        stop(service)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENEXT_DATA", os.environ.get("LENEXT_DATA", str(tmp_path / "data")))
