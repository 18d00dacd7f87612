"""The studio as a process: trainings have the command line's bits, and outlive a studio that is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import lenext
from lenext.runs.folder import Run
from lenext.training.metrics import Record
from tests.commands.options import commands
from tests.data.makers import write_idx_folder
from tests.studio.conftest import Served

pytestmark = pytest.mark.slow
SECONDS = 120


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, and return what it returns."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {SECONDS} s")


class Process:
    """`lenext studio` as a process of its own."""

    def __init__(self, runs_dir: Path, *options: str) -> None:
        command = [sys.executable, "-m", "lenext", "studio", "--no-browser", f"--runs-dir={runs_dir}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        line = self.process.stdout.readline()
        found = re.search(r"(http://127.0.0.1:\d+)/\?token=(\S+)", line)
        assert found, f"{line}{self.process.communicate(timeout=SECONDS)}"
        self.address, self.token = found.groups()

    def ask(self, path: str, **body: Any) -> Any:
        """Ask the studio, and return its answer."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        content = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(
            urllib.request.Request(self.address + path, content, headers), timeout=60
        ) as answer:
            return json.loads(answer.read())

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal, and return the exit code and what was printed."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, output, errors


FORM = {"network": "lenet", "data": "digits", "name": "trained", "keys": {"epochs": "2", "threads": "1"}}
LONG = {"network": "lenet", "data": "digits", "name": "long", "keys": {"epochs": "2000", "threads": "1"}}


def test_a_training_has_the_bits_of_the_command_line(served: Served, tmp_path: Path) -> None:
    started = served.post("/api/trainings", **FORM)
    assert served.wait(started["number"])["state"] == "done"
    trained = Run(served.studio.runs_dir / "trained")
    by_hand = lenext.train("lenet", "digits", epochs=2, threads=1, runs_dir=tmp_path, quiet=True)
    for kind in ("best", "last"):
        assert trained.weights(kind).read_bytes() == by_hand.weights(kind).read_bytes()
    assert (trained.path / "report.html").is_file()


def test_stop_and_resume(served: Served, tmp_path: Path) -> None:
    form = FORM | {"name": "stopped", "keys": {"epochs": "40", "threads": "1"}}
    started = served.post("/api/trainings", **form)
    run = Run(served.studio.runs_dir / "stopped")
    until(lambda: run.path.is_dir() and run.records, "the first epoch")
    served.post("/api/runs/stopped/stop")
    ended = served.wait(started["number"])
    assert ended["state"] == "stopped"
    assert not run.trainer
    assert 0 < len(run.records) < 40
    resumed = served.post("/api/runs/stopped/resume")
    assert served.wait(resumed["number"])["state"] == "done"
    by_hand = lenext.train("lenet", "digits", epochs=40, threads=1, runs_dir=tmp_path, quiet=True)
    assert run.weights("last").read_bytes() == by_hand.weights("last").read_bytes()
    longer = served.post("/api/runs/stopped/resume", epochs="41")
    assert served.wait(longer["number"])["state"] == "done"
    assert len(run.records) == 41


def test_a_killed_studio_leaves_its_trainings(tmp_path: Path) -> None:
    studio = Process(tmp_path, "--port=0", "--offline")
    studio.ask("/api/trainings", **LONG)
    run = Run(tmp_path / "long")
    trainer = until(lambda: run.path.is_dir() and run.records and run.trainer, "the training")
    studio.end(signal.SIGKILL)
    before = len(run.records)
    until(lambda: len(run.records) > before, "another epoch, without the studio")
    second = Process(tmp_path, "--port=0", "--offline")
    try:
        assert second.ask("/api/runs/long")["state"] == "training"
        second.ask("/api/runs/long/stop", now=True)
        until(lambda: not psutil.pid_exists(trainer.pid) or trainer.status() == psutil.STATUS_ZOMBIE, "the stop")
        until(lambda: second.ask("/api/runs/long")["state"] == "stopped", "the state")
        code, _, errors = second.end(signal.SIGINT)
        assert (code, errors) == (0, "")
        assert not (tmp_path / ".studio.json").exists()
    finally:
        with suppress(OSError):
            os.kill(trainer.pid, signal.SIGKILL)
    done = len(run.records)

    def stop(record: Record) -> None:
        assert record.epoch in (done, done + 1)  # the validation after the last checkpoint is repeated
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lenext.resume(run, quiet=True, watch=stop)


def test_ctrl_c_names_the_trainings_that_go_on(tmp_path: Path) -> None:
    studio = Process(tmp_path, "--port=0", "--offline")
    studio.ask("/api/trainings", **LONG)
    run = Run(tmp_path / "long")
    trainer = until(lambda: run.path.is_dir() and run.records and run.trainer, "the training")
    code, output, errors = studio.end(signal.SIGINT)
    assert (code, errors) == (0, "")
    assert f"long is still in training, in process {trainer.pid}" in output
    assert trainer.is_running()
    trainer.terminate()
    trainer.wait(SECONDS)
    assert not run.trainer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_studio_ends_at_once_and_in_silence(number: int, tmp_path: Path) -> None:
    studio = Process(tmp_path, "--port=0")
    request = urllib.request.Request(
        f"{studio.address}/api/events", headers={"authorization": f"Bearer {studio.token}"}
    )
    with urllib.request.urlopen(request, timeout=60) as news:  # as a page that is open
        news.readline()
        code, _, errors = studio.end(number)
    assert (code, errors) == (0, "")
    assert not (tmp_path / ".studio.json").exists()


def test_one_studio_for_a_folder(tmp_path: Path) -> None:
    studio = Process(tmp_path, "--port=0")
    try:
        note = tmp_path / ".studio.json"
        assert note.stat().st_mode & 0o777 == 0o600
        again = subprocess.run(
            [sys.executable, "-m", "lenext", "studio", "--no-browser", f"--runs-dir={tmp_path}"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert again.returncode == 2
        assert f"a studio is open for this folder already, at {studio.address}" in again.stderr
        taken = subprocess.run(
            [
                sys.executable, "-m", "lenext", "studio", "--no-browser", f"--runs-dir={tmp_path / 'other'}",
                f"--port={studio.address.rpartition(':')[2]}",
            ],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert taken.returncode == 2
        assert "cannot be used" in taken.stderr
        assert not (tmp_path / "other").exists()
    finally:
        studio.end(signal.SIGTERM)


def test_commands_are_ended_with_the_studio(tmp_path: Path) -> None:
    studio = Process(tmp_path, "--port=0", "--offline")
    studio.ask("/api/plan", network="resnet18_32px", data="digits")
    children = until(lambda: psutil.Process(studio.process.pid).children(), "the plan's process")
    studio.end(signal.SIGTERM)
    until(lambda: not any(each.is_running() for each in children), "the end of the plan's process")


def test_every_option_of_the_verb(tmp_path: Path) -> None:
    """Those that the other tests give, `--data-dir` and `--offline`; an option that is added fails here."""
    options = {option.name for words, given in commands().items() if words == ("studio",) for option in given}
    assert options == {"--runs-dir", "--port", "--browser", "--data-dir", "--offline"}
    write_idx_folder(tmp_path / "data" / "MNIST" / "raw", zipped=False)
    studio = Process(tmp_path / "runs", "--port=0", "--offline", f"--data-dir={tmp_path / 'data'}")
    try:
        assert studio.ask("/api/data?source=mnist")["name"] == "mnist"
        plan = studio.ask("/api/plan", network="lenet", data="mnist", keys={"epochs": "1"})
        assert plan["training"].endswith(f"--data-dir={tmp_path / 'data'} --offline")
        with pytest.raises(urllib.error.HTTPError) as error:
            studio.ask("/api/data?source=cifar10")
        assert "offline" in json.loads(error.value.read())["error"]
    finally:
        studio.end(signal.SIGTERM)


def test_the_browser_is_opened_without_the_token_in_its_command_line(tmp_path: Path) -> None:
    """Other users of the machine can read command lines."""
    browser = tmp_path / "browser"
    browser.write_text(f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'asked')!r}, 'w').write(sys.argv[1])\n")
    browser.chmod(0o755)
    command = [sys.executable, "-m", "lenext", "studio", f"--runs-dir={tmp_path / 'runs'}", "--port=0"]
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        asked = until(lambda: (tmp_path / "asked").is_file() and (tmp_path / "asked").read_text(), "the browser")
        assert "token" not in asked
        page = Path(urllib.parse.unquote(urllib.parse.urlsplit(asked).path))
        assert "/?token=" in page.read_text()
        assert page.parent.stat().st_mode & 0o077 == 0
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert not page.exists()
