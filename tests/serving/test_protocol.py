"""What comes in at the socket, before it is a request: slow, endless, malformed, pipelined."""

import random
import re
import socket
import time

import pytest

from lenext.serving import settings
from tests.serving.conftest import Service, make_image

IMAGE = make_image()
WHOLE = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(IMAGE)}\r\n\r\n".encode() + IMAGE


def talk(service: Service, *pieces: bytes, pause: float = 0.0, timeout: float = 60.0) -> bytes:
    """Send pieces, and return all that comes until the service closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=timeout) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while part := connection.recv(1 << 16):
                received += part
        except ConnectionError:
            pass
    return received


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % place for place in range(101)) + b"\r\n",
        b"GET / HTTP/1.1\r\nbad header: \r\n\r\n", b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 400_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_answered_400_and_closed(service: Service, text: bytes) -> None:
    before = service.counts().get('lenext_requests_total{code="400",route="malformed"}', 0.0)
    pieces = [text[start : start + 100_000] for start in range(0, len(text), 100_000)]
    assert talk(service, *pieces, pause=0.1 if len(pieces) > 1 else 0.0).startswith(b"HTTP/1.1 400") or len(pieces) > 1
    assert service.counts()['lenext_requests_total{code="400",route="malformed"}'] == before + 1
    assert service.get("/predict", IMAGE)


def test_requests_in_one_piece_are_answered_in_their_order(service: Service) -> None:
    last = WHOLE.replace(b"host", b"connection: close\r\nhost", 1)
    answers = talk(service, WHOLE + WHOLE.replace(b"/predict", b"/nowhere") + last)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"404", b"200"]


def test_a_body_in_pieces_is_put_together(service: Service) -> None:
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    head = head.replace(b"host", b"connection: close\r\nhost", 1) + b"\r\n\r\n"
    assert talk(service, head, *(body[place : place + 50] for place in range(0, len(body), 50))).startswith(
        b"HTTP/1.1 200"
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    chunked = head.replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
    assert talk(service, chunked + chunks).startswith(b"HTTP/1.1 200")


def test_a_client_that_waits_for_leave_is_told_to_go_on(service: Service) -> None:
    head, _, body = WHOLE.replace(b"host", b"expect: 100-continue\r\nconnection: close\r\nhost", 1).partition(
        b"\r\n\r\n"
    )
    assert b"HTTP/1.1 100" in (answer := talk(service, head + b"\r\n\r\n", body, pause=0.2))
    assert b"HTTP/1.1 200" in answer


def test_thousands_of_requests_in_one_piece_are_refused(service: Service) -> None:
    one = b"GET /v2 HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert b"HTTP/1.1 400" in talk(service, one * 20_000)
    assert service.get("/predict", IMAGE)


def test_trailers_without_end_are_not_kept(service: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    talk(service, head + b"1\r\nx\r\n0\r\na: ", *([b"A" * 1_000_000] * 12))
    assert service.get("/predict", IMAGE)


@pytest.mark.slow
def test_slow_clients_are_closed_and_hold_up_nobody(service: Service) -> None:
    slow = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(100)]
    try:
        for place, connection in enumerate(slow):  # a head, a body, and nothing at all, without an end
            connection.sendall((b"POST /predict HTTP/1.1\r\nx: ", WHOLE[:-9], b"", WHOLE[: -len(IMAGE)])[place % 4])
        began = time.monotonic()
        closed = 0
        while closed < len(slow):
            assert time.monotonic() < began + settings.BODY_SECONDS + 30
            assert service.get("/predict", IMAGE)
            for connection in slow:
                connection.setblocking(False)
            closed = 0
            for place, connection in enumerate(slow):
                try:
                    received = connection.recv(4096, socket.MSG_PEEK)
                    closed += not received or place % 2 == 1
                except BlockingIOError:
                    pass
                except ConnectionError:
                    closed += 1
            time.sleep(0.5)
        assert slow[1].recv(4096).startswith(b"HTTP/1.1 408")
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.slow
def test_ten_thousand_malformed_requests(service: Service) -> None:
    choose = random.Random(0)
    for number in range(10_000):
        text = bytearray(WHOLE)
        for _ in range(choose.randrange(1, 6)):
            kind, place = choose.randrange(4), choose.randrange(len(text) - 1)
            if kind == 0:
                text[place] = choose.randrange(256)
            elif kind == 1:
                del text[place + 2 : place + choose.randrange(3, 40)]
            elif kind == 2:
                text[place:place] = choose.randbytes(choose.randrange(1, 40))
            else:
                text = text[: max(2, place)]
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(bytes(text))
            if number % 100 == 0:
                assert service.get("/predict", IMAGE)
    counts = service.counts()
    assert not [key for key, value in counts.items() if 'code="5' in key and 'code="503"' not in key and value]
    assert counts["lenext_workers"] == 2
    assert "it is replaced" not in service.reported
