"""A studio at a real address, served by a thread of the tests."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import lenext
from lenext.runs.folder import Run
from lenext.studio.application import make_application
from lenext.studio.state import Studio
from lenext.studio.web_server import Server

TOKEN = "a-token-of-the-tests"
COOKIE = "lenext-studio-of-the-tests"


@dataclass
class Served:
    """A studio at an address.

    Attributes:
        studio: What its routes work with.
        port: Of its address.
        failures: The errors that an answer ended with; there must be none.
    """

    studio: Studio
    port: int
    failures: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body that a request is answered with. It has the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {"authorization": f"Bearer {TOKEN}"} | (headers or {})
            connection.request(method, path, body, {key: value for key, value in given.items() if value})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, content
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return what a path answers, as JSON; its status must be 200."""
        status, _, content = self.request("GET", path)
        assert status == 200, content
        return json.loads(content)

    def post(self, path: str, **body: Any) -> Any:
        """Return what an action answers, as JSON; its status must be 200."""
        status, _, content = self.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        assert status == 200, content
        return json.loads(content)

    def refusal(self, method: str, path: str, **body: Any) -> tuple[int, str]:
        """Return the status and the words with which a request is refused."""
        content = json.dumps(body).encode() if method == "POST" else None
        status, _, answer = self.request(method, path, content, {"content-type": "application/json"})
        assert 400 <= status < 500, answer
        return status, json.loads(answer)["error"]

    def wait(self, number: str, seconds: float = 120) -> dict[str, Any]:
        """Return what a command is when it has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            command = self.get(f"/api/commands/{number}")
            if command["state"] != "running":
                return dict(command)
            time.sleep(0.05)
        raise AssertionError(f"{command} has not ended")


def start(studio: Studio) -> tuple[Served, Callable[[], None]]:
    """Serve a studio, and return it with what ends it."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = make_application(studio, TOKEN, COOKIE)
    server = Server(application, studio)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()

    def end() -> None:
        studio.feed.is_closing = server.should_exit = True
        thread.join(30)
        studio.commands.close()
        listening.close()
        assert not thread.is_alive()

    return Served(studio, listening.getsockname()[1]), end


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, undrawn_figures: None) -> Iterator[Served]:
    """A studio of a folder with a finished run, a stopped one, and a broken one."""
    folder = tmp_path_factory.mktemp("studio") / "runs"
    lenext.train("lenet", "digits", epochs=2, train_samples=200, runs_dir=folder, name="done", quiet=True)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lenext.train("lenet5", "digits", epochs=3, runs_dir=folder, name="half", watch=stop, quiet=True)
    (folder / "broken").mkdir()
    (folder / "broken" / "recipe.yaml").write_text("network: [")
    served, end = start(Studio(folder, offline=True))
    yield served
    end()


@pytest.fixture
def done(served: Served) -> Run:
    """The finished run of the studio."""
    return Run(served.studio.runs_dir / "done")
