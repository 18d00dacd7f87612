"""Nobody but the studio's own page is answered, and no answer leaves out the headers that protect it."""

import random
import re
import socket
import string

import pytest

from lenext.studio.application import ACTING
from tests.studio.conftest import COOKIE, TOKEN, Served

PATHS = [
    "/", "/static/studio.js", "/api/runs", "/api/runs/done", "/runs/done/report.html", "/api/events", "/api/choices",
    "/api/form", "/api/data?source=digits", "/data/image?source=digits", "/api/audits", "/nothing",
]  # fmt: skip
ACTIONS = [path.format(name="done", number="x", verb="report") for path in (*ACTING, "/api/runs/{name}/predict")]
TRAVERSALS = [
    "/runs/../done/report.html", "/runs/%2e%2e/x/report.html", "/runs/..%2f..%2fetc/passwd",
    "/runs/done/..%2frecipe.yaml",
    "/runs/done/recipe.yaml", "/runs/done/weights%2fbest.safetensors", "/static/../application.py",
    "/static/..%2fapplication.py", "/static/vendor/..%2f..%2f__init__.py", "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/api/runs/..", "/api/runs/%2e%2e", "/api/runs/..%2fx", "/api/runs/%00", "/api/runs/.studio",
    "/api/audits/..%2fdone",
    "/runs/linked/report.html",
]  # fmt: skip


@pytest.mark.parametrize("path", [*PATHS, *ACTIONS])
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "", "cookie": f"{COOKIE}=wrong"},
        {"authorization": "", "cookie": f"other={TOKEN}"},
        {"authorization": "", "cookie": '"; broken=;;;='},
        {"authorization": "", "cookie": f"x{COOKIE}={TOKEN}"},
    ],
    ids=str,
)
def test_without_the_token_nothing_is_answered(served: Served, path: str, headers: dict[str, str]) -> None:
    method = "POST" if path in ACTIONS else "GET"
    status, _, content = served.request(method, path, b"{}" if method == "POST" else None, headers)
    assert status == 401
    assert b"done" not in content


@pytest.mark.parametrize("path", [*PATHS, *ACTIONS])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "evil.example:8127"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_other_sites_are_refused(served: Served, path: str, headers: dict[str, str]) -> None:
    method = "POST" if path in ACTIONS else "GET"
    status, _, _ = served.request(method, path, b"{}" if method == "POST" else None, headers)
    assert status == 403


def test_the_address_leads_in_once(served: Served) -> None:
    status, headers, content = served.request("GET", f"/?token={TOKEN}", headers={"authorization": ""})
    assert status == 200
    assert b'content="0; url=/"' in content
    assert headers["set-cookie"] == f"{COOKIE}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    for others in ("", 'prefs={"a":1}; ', "flag; ", "path=/; ", "=v; "):
        cookies = {"authorization": "", "cookie": f"{others}{COOKIE}={TOKEN}"}
        status, _, content = served.request("GET", "/", headers=cookies)
        assert status == 200
    assert b"studio.js" in content
    assert served.request("GET", "/?token=wrong", headers={"authorization": ""})[0] == 401
    assert served.request("GET", f"/api/runs?token={TOKEN}", headers={"authorization": ""})[0] == 401
    navigation = {"authorization": "", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert served.request("GET", f"/?token={TOKEN}", headers=navigation)[0] == 200, "a link in a mail"


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/api/events"])  # that one is in test_news
def test_every_answer_is_protected(served: Served, path: str) -> None:
    _, headers, _ = served.request("GET", path)
    policy = headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in policy
    if path.startswith("/runs/"):
        assert policy.startswith("sandbox ")
        assert "allow-same-origin" not in policy
    else:
        assert "unsafe" not in policy


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_other_file_is_served(served: Served, path: str) -> None:
    link = served.studio.runs_dir / "linked"
    if not link.exists():
        link.symlink_to(served.studio.runs_dir / "done")
    status, _, content = served.request("GET", path)
    assert status in (400, 404), content
    assert b"root:" not in content
    assert b"import" not in content


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"{}", {"content-type": "text/plain"}, "application/json is needed"),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, "application/json is needed"),
        (b"{", {"content-type": "application/json"}, "no JSON"),
        (b"[" * 100_000, {"content-type": "application/json"}, "no JSON"),
        (b"[]", {"content-type": "application/json"}, "an object of JSON"),
        (b'{"data": "' + b"x" * (1 << 21) + b'"}', {"content-type": "application/json"}, "bytes are read"),
    ],
    ids=range(6),
)
def test_bodies_are_checked(served: Served, body: bytes, headers: dict[str, str], words: str) -> None:
    status, _, content = served.request("POST", "/api/audits", body, headers)
    assert status == 400
    assert words in content.decode()


def test_long_bodies_are_not_read(served: Served) -> None:
    status, _, _ = served.request(
        "POST", "/api/audits", b"{}", {"content-type": "application/json", "content-length": str(1 << 40)}
    )
    assert status == 413
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert served.request(method, "/api/runs")[0] == 405


def malformed(draw: random.Random) -> bytes:
    """Return a request that is wrong in one way or another; none has the token."""
    noise = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 200)))
    word = "".join(draw.choices(string.printable, k=draw.randrange(0, 40)))
    path = draw.choice(
        [*PATHS, *ACTIONS, *TRAVERSALS, "/" + word, f"/?token={word}", "/%", "*", "http://evil.example/"]
    )
    host = draw.choice(["127.0.0.1", "evil.example", "", word, "127.0.0.1\r\nhost: evil.example"])
    method = draw.choice(["GET", "POST", "HEAD", "PUT", "get", word or "X", "GET\x00"])
    extra = draw.choice(
        [
            "", f"cookie: {COOKIE}={word}", f"authorization: Bearer {word}", "content-length: -1",
            "content-length: 1e9",
            "transfer-encoding: chunked", "connection: upgrade\r\nupgrade: websocket", f"origin: {word}",
            f"{word}: {word}",
            "x: " + "y" * draw.choice([10, 100_000]),
        ]
    )  # fmt: skip
    version = draw.choice(["1.1", "1.0", "9.9", "x"])
    request = f"{method} {path} HTTP/{version}\r\nhost: {host}\r\n{extra}\r\n\r\n".encode(errors="replace")
    return draw.choice([request, request, request, request + noise, noise, request[: draw.randrange(len(request))]])


@pytest.mark.slow
def test_malformed_requests(served: Served) -> None:
    draw, statuses = random.Random(0), list[int]()
    before = served.get("/api/runs")
    for _ in range(10_000):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(malformed(draw))
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        statuses += [int(each) for each in re.findall(rb"^HTTP/1.1 (\d{3})", answer, re.MULTILINE)]
        assert b"done" not in answer
    assert len(statuses) > 5_000
    assert set(statuses) <= {400, 401, 403, 405, 413}, set(statuses)
    assert served.get("/api/runs") == before
