"""Answers as JSON and files, errors among them, and the reading of requests."""

import json
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lenext.foundation.errors import ConfigurationError, RunError
from lenext.foundation.files import read_regular
from lenext.studio.feed import to_json
from lenext.studio.guard import PAGE_POLICY

MAX_JSON_BYTES = 1 << 20
MAX_PAGE_BYTES = 128 << 20


def json_response(content: Any, status: int = HTTPStatus.OK) -> Response:
    return Response(to_json(content), status, media_type="application/json")


async def no_such_page(request: Request, _: Exception) -> Response:
    return json_response({"error": f"{request.method} {request.url.path}: there is no such page"}, HTTPStatus.NOT_FOUND)


async def show_error(_: Request, error: Exception) -> Response:
    """Answer with an error of the user's: of a run that is not there, as missing."""
    status = HTTPStatus.NOT_FOUND if isinstance(error, RunError) else HTTPStatus.BAD_REQUEST
    return json_response({"error": str(error)}, status)


async def show_defect(request: Request, error: Exception) -> Response:
    """Answer with an error that is lenext's own, and print it in full."""
    traceback.print_exception(error)
    words = f"{type(error).__name__}: {error}; the terminal of `lenext studio` has more; please report it"
    return json_response({"error": f"{request.url.path}: {words}"}, HTTPStatus.INTERNAL_SERVER_ERROR)


def send_file(path: Path) -> Response:
    """Answer with a page or figure."""
    try:
        content = read_regular(path, MAX_PAGE_BYTES)
    except OSError as error:
        raise RunError(f"{path.name}: it is not there ({error.strerror or error})") from error
    if path.suffix == ".png":
        return Response(content, media_type="image/png")
    return Response(content, media_type="text/html", headers={"content-security-policy": PAGE_POLICY})


async def read_json(request: Request) -> Mapping[str, Any]:
    """Return the object in the body of a request. Raises ConfigurationError for any other body."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ConfigurationError("content-type: application/json is needed")
    content = await read_body(request, MAX_JSON_BYTES)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the body of the request is no JSON ({error})") from error
    if not isinstance(body, dict):
        raise ConfigurationError("the body of the request must be an object of JSON")
    return body


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request. Raises ConfigurationError for one that is too long."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise ConfigurationError(f"at most {max_bytes:,} bytes are read")
            parts.append(part)
    except ClientDisconnect as error:
        raise ConfigurationError("the body of the request is not complete") from error
    return b"".join(parts)


def whole_number(request: Request, key: str) -> int:
    """Return a whole number in the address of a request; 0 by default."""
    value = request.query_params.get(key, "0")
    if not (value.isascii() and value.isdecimal() and len(value) < 12):
        raise ConfigurationError(f"{key}={value}: a whole number is needed")
    return int(value)


def name_in_path(request: Request) -> str:
    """Return the name of a run, an audit or a file in the address of a request."""
    return str(request.path_params["name"])
