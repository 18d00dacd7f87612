"""HTTP for a service: uvicorn's protocol, with limits on what a client may send before anyone looks at it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lenext.serving.settings import BODY_SECONDS, HEAD_SECONDS, MAX_BODY_BYTES

MAX_HEAD_BYTES, MAX_HEADERS = 64 << 10, 100
MAX_MESSAGE_BYTES = 4 * MAX_BODY_BYTES  # what is too much is read and forgotten: else the answer would be lost
MAX_FRAMING_BYTES, MAX_PIPELINED = 4 << 20, 8
TOO_MUCH = "The request is too large."


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections that send too much, or nothing for too long.

    Attributes:
        idle_since: When the last answer ended, or the connection began.
        count_malformed: Called for what is no HTTP.
    """

    count_malformed: Callable[[], None] = staticmethod(lambda: None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.idle_since, self.is_in_head, self.message_bytes, self.body_bytes = time.monotonic(), True, 0, 0
        self.stalled_since: float | None = None

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; of a head without end no more than its limit is kept."""
        between = self.message_bytes - self.body_bytes  # the head, what separates pieces of a body, and trailers
        limit = MAX_HEAD_BYTES if self.is_in_head else MAX_FRAMING_BYTES
        if between > limit or self.message_bytes > MAX_MESSAGE_BYTES:
            if self.is_idle and not self.is_in_head:  # it was answered already that its body is too large
                self.transport.close()
            else:
                self.send_400_response(TOO_MUCH)
            return
        self.message_bytes += len(data)
        super().data_received(data)

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; one too many is an error of the client's, which httptools reports as one of the message."""
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.is_in_head, self.message_bytes, self.body_bytes = True, 0, 0

    def on_response_complete(self) -> None:
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        self.count_malformed()
        super().send_400_response(msg)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered: the connection waits for a head, or for the rest of one."""
        return self.cycle is None or self.cycle.response_complete


def close_idle(connections: set[Any]) -> None:
    """Close the connections whose next request has not come for too long, and those that do not take their answer."""
    moment = time.monotonic()
    for each in list(connections):
        is_stalled = each.transport.get_write_buffer_size() > 0  # the client does not read its answer
        each.stalled_since = (each.stalled_since or moment) if is_stalled else None
        if each.stalled_since and moment - each.stalled_since > BODY_SECONDS:
            each.transport.abort()
        elif each.is_idle and moment - each.idle_since > HEAD_SECONDS:
            each.transport.abort() if is_stalled or each.message_bytes else each.transport.close()
