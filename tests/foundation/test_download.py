"""Downloads against a real HTTPS server on this machine, with a certificate of a made-up authority."""

import hashlib
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from lenext.foundation.download import RemoteFile, fetch, fetch_unpublished
from lenext.foundation.errors import DownloadError
from tests.conftest import Quiet

CONTENT = bytes(range(256)) * 2000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(Quiet):
    """Answers by the path: /good, /cut (half of it), /403, /html, /other (other bytes), /http (leads to http)."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))  # type: ignore[attr-defined]
        kind = self.path.split("/")[1]
        if kind == "403":
            self.send_error(403)
            return
        if kind == "http":
            self.send_response(302)
            self.send_header("Location", "http://localhost/good")
            self.end_headers()
            return
        content = b"<html>log in</html>" if kind == "html" else CONTENT[::-1] if kind == "other" else CONTENT
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if kind != "norange" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if kind == "html" else "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2 if kind == "cut" else None])


@pytest.fixture
def server(https: Callable[..., ThreadingHTTPServer]) -> ThreadingHTTPServer:
    return https(Handler)


def remote(server: ThreadingHTTPServer, *kinds: str) -> RemoteFile:
    urls = tuple(f"https://localhost:{server.server_port}/{kind}/data.bin" for kind in kinds)
    return RemoteFile("data.bin", len(CONTENT), SHA, urls)


def test_a_file_is_fetched_and_kept(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    path = fetch(remote(server, "good"), tmp_path / "data")
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["data.bin"]
    fetch(remote(server, "good"), tmp_path / "data", offline=True)
    assert len(server.asked) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", ["403", "html", "other", "http", "cut"])
def test_the_next_mirror_is_taken(server: ThreadingHTTPServer, tmp_path: Path, bad: str) -> None:
    assert fetch(remote(server, bad, "good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("403", "Forbidden"),
        ("html", "web page"),
        ("other", "SHA-256 differs"),
        ("http", "only https"),
        ("cut", "cut off"),
    ],
)
def test_what_is_not_the_file_never_takes_its_name(
    server: ThreadingHTTPServer, tmp_path: Path, bad: str, reason: str
) -> None:
    with pytest.raises(DownloadError, match=reason) as caught:
        fetch(remote(server, bad), tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data" / "data.bin").exists()


def test_a_download_that_was_cut_off_is_resumed(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the next try resumes"):
        fetch(remote(server, "cut"), tmp_path)
    assert fetch(remote(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("/good/data.bin", f"bytes={len(CONTENT) // 2}-")  # type: ignore[attr-defined]


def test_a_server_that_cannot_resume_starts_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"x" * 100)
    assert fetch(remote(server, "norange"), tmp_path).read_bytes() == CONTENT


def test_rubbish_of_one_mirror_does_not_spoil_another(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    assert fetch(remote(server, "good"), tmp_path).read_bytes() == CONTENT


def test_offline_never_asks(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="--offline"):
        fetch(remote(server, "good"), tmp_path, offline=True)
    assert server.asked == []  # type: ignore[attr-defined]


def test_plain_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only https"):
        fetch_unpublished("http://localhost/table.csv", tmp_path, (".csv",), 1000)


def test_an_address_of_ones_own_is_kept(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"https://localhost:{server.server_port}/good/table.csv"
    path = fetch_unpublished(url, tmp_path / "tables", (".csv",), 10**6)
    assert path.read_bytes() == CONTENT
    assert fetch_unpublished(url, tmp_path / "tables", (".csv",), 10**6, offline=True) == path


@pytest.mark.parametrize(("kind", "reason"), [("cut", "cut off"), ("html", "web page"), ("403", "Forbidden")])
def test_an_address_that_fails_leaves_nothing(
    server: ThreadingHTTPServer, tmp_path: Path, kind: str, reason: str
) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch_unpublished(f"https://localhost:{server.server_port}/{kind}/t.csv", tmp_path / "tables", (".csv",), 10**6)
    assert list((tmp_path / "tables").iterdir()) == []


def test_more_than_the_limit_is_refused(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="larger than"):
        fetch_unpublished(f"https://localhost:{server.server_port}/good/t.csv", tmp_path, (".csv",), 1000)
