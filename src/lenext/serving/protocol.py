"""HTTP for a service: uvicorn's protocol, with limits on what a client may send before anyone looks at it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lenext.serving.settings import HEAD_SECONDS, MAX_BODY_BYTES

MAX_HEAD_BYTES, MAX_HEADERS = 64 << 10, 100
MAX_MESSAGE_BYTES = 4 * MAX_BODY_BYTES  # what is too much is read and forgotten: else the answer would be lost
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
        self.idle_since, self.is_in_head, self.message_bytes = time.monotonic(), True, 0

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; of a head without end no more than its limit is kept."""
        if self.message_bytes > (MAX_HEAD_BYTES if self.is_in_head else MAX_MESSAGE_BYTES):
            if self.is_idle and not self.is_in_head:  # it was answered already that its body is too large
                self.transport.close()
            else:
                self.send_400_response(TOO_MUCH)
            return
        self.message_bytes += len(data)
        super().data_received(data)

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
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.is_in_head, self.message_bytes = True, 0

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
    """Close the connections whose next request has not begun, or not gone on, for too long."""
    latest = time.monotonic() - HEAD_SECONDS
    for each in list(connections):
        if each.is_idle and each.idle_since < latest:
            each.transport.abort() if each.is_in_head and each.message_bytes else each.transport.close()
