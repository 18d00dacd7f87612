"""The answers to requests, and the errors that become answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from lenext.foundation.errors import LenextError, RunError
from lenext.serving.bodies import WrongTypeError
from lenext.serving.settings import MAX_BODY_BYTES
from lenext.web.headers import HEADERS

JSON = "application/json"
Head = Mapping[str, str]
"""The headers of a request, by their names in small letters."""
PLAIN_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
PAGE_HEADERS = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
ENCODER = json.JSONEncoder(ensure_ascii=False)
STATUS_OF = {
    RunError: HTTPStatus.NOT_FOUND, WrongTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    LenextError: HTTPStatus.BAD_REQUEST,
}  # fmt: skip


class RefusedError(LenextError):
    """A request that is refused with a certain status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass
class Answer:
    """The answer to a request.

    Attributes:
        status: Of HTTP.
        body: The content.
        media_type: Its type.
        headers: Further headers.
        noted: What the log says of it.
    """

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)

    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        """Return all headers as the server sends them; a page has those that keep it in its place."""
        return [
            (b"content-type", self.media_type.encode()), (b"content-length", str(len(self.body)).encode()),
            *((key.encode(), value.encode("latin-1", "replace")) for key, value in self.headers.items()),
            *(PLAIN_HEADERS if self.media_type == JSON else PAGE_HEADERS),
        ]  # fmt: skip


def json_answer(content: Any, status: int = HTTPStatus.OK, **noted: Any) -> Answer:
    """Return an answer in JSON; what is no valid text, as the name of a class may be, has `?`."""
    return Answer(status, ENCODER.encode(content).encode(errors="replace"), noted=noted)


def error_answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says in one line what is wrong."""
    answer = json_answer({"error": message}, status)
    answer.headers = headers or {}
    return answer


def too_large() -> RefusedError:
    """Return the refusal of a body that is too large; its rest is not read."""
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES:,} bytes are read")


def check_method(method: str, allowed: str) -> None:
    """Raise RefusedError for a method that an address does not have."""
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise RefusedError(
            HTTPStatus.METHOD_NOT_ALLOWED, f"the method is {allowed}",
            {"allow": "GET, HEAD" if allowed == "GET" else allowed},
        )  # fmt: skip


def status_of(error: LenextError) -> HTTPStatus:
    """Return the status of an error of the client's."""
    return next(status for kind, status in STATUS_OF.items() if isinstance(error, kind))
