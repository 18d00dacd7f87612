"""Reading the body of a request: no more than its limit, not for ever, and not all of them at once."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.types import Receive

from lenext.serving.answers import Head, RefusedError, too_large
from lenext.serving.settings import BODY_SECONDS, MAX_BODY_BYTES


class BodyReader:
    """The bodies that a worker reads.

    Attributes:
        reading_bytes: Of bodies that are not complete yet.
    """

    def __init__(self, check_room: Callable[[int, int], None]) -> None:
        """Begin with none.

        Args:
            check_room: Raises FullError where these images or bytes have no room.
        """
        self.check_room, self.reading_bytes = check_room, 0

    async def read_body(self, headers: Head, receive: Receive) -> bytes:
        """Return the body of a request.

        Raises:
            RefusedError: It is too large, or takes too long.
            FullError: Too many bytes are held already.
        """
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding: a compressed body is not read")
        length = headers.get("content-length")
        if length is not None and length.isdecimal() and int(length[:12]) > MAX_BODY_BYTES:
            raise too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await receive()  # most bodies are here already
                body: bytes = message.get("body", b"")
                if message.get("more_body"):
                    body = await self.read_rest(body, receive)
                elif message["type"] == "http.disconnect":
                    raise asyncio.CancelledError
        except TimeoutError:
            words = f"the body did not come within {BODY_SECONDS:.0f} s"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, words, {"connection": "close"}) from None
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
        return body

    @contextmanager
    def hold(self, body: bytes) -> Iterator[None]:
        """Count a body while it is taken apart."""
        self.reading_bytes += len(body)
        try:
            yield
        finally:
            self.reading_bytes -= len(body)

    async def read_rest(self, first: bytes, receive: Receive) -> bytes:
        """Return a body of several pieces."""
        pieces, size = [first], len(first)
        self.reading_bytes += size
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise asyncio.CancelledError
                piece = message.get("body", b"")
                pieces.append(piece)
                size += len(piece)
                self.reading_bytes += len(piece)
                if size > MAX_BODY_BYTES:
                    raise too_large()
                self.check_room(0, self.reading_bytes)
                if not message.get("more_body"):
                    return b"".join(pieces)
        finally:
            self.reading_bytes -= size
