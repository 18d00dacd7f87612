"""The web application of the studio: its routes behind their guard."""

from collections.abc import Awaitable, Callable

from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lenext.foundation.errors import DataError, LenextError
from lenext.studio import data_routes, run_routes
from lenext.studio.answers import (
    json_response,
    name_in_path,
    no_such_page,
    read_body,
    read_json,
    show_defect,
    show_error,
)  # fmt: skip
from lenext.studio.guard import MAX_BODY_BYTES, Guard
from lenext.studio.page import PACKAGE, policy
from lenext.studio.state import Handler, Studio
from lenext.web.pages import content_of

SLOW = ("/api/data", "/data/", "/api/audits/")  # addresses whose answers may wait for data to be read

READING = run_routes.READING | data_routes.READING
ACTING = run_routes.ACTING | data_routes.ACTING


def make_application(studio: Studio, token: str, cookie: str) -> Guard:
    """Return the web application, behind its guard."""
    routes = [
        Route("/", as_route(studio, send_page)),
        Route("/static/{name:path}", as_route(studio, send_static)),
        Route("/api/events", as_events(studio)),
        *(Route(path, as_route(studio, handler), methods=["GET"]) for path, handler in READING.items()),
        *(Route(path, as_route(studio, handler), methods=["POST"]) for path, handler in ACTING.items()),
        Route("/api/runs/{name}/predict", as_prediction(studio), methods=["POST"]),
    ]

    application = Starlette(
        routes=routes,
        exception_handlers={404: no_such_page, 405: no_such_page, LenextError: show_error, Exception: show_defect},
    )  # fmt: skip
    return Guard(application, token, cookie, policy())


def as_route(studio: Studio, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return a route that calls a handler in a thread, with the JSON of the request's body."""

    async def route(request: Request) -> Response:
        body = await read_json(request) if request.method == "POST" else {}
        limiter = studio.slow if request.url.path.startswith(SLOW) else None
        answer = await to_thread.run_sync(handler, studio, request, body, limiter=limiter)
        return answer if isinstance(answer, Response) else json_response(answer)

    return route


def send_page(_: Studio, request: Request, __: object) -> Response:
    return Response(content_of(PACKAGE, "studio.html")[0], media_type="text/html")


def send_static(_: Studio, request: Request, __: object) -> Response:
    content, kind = content_of(PACKAGE, name_in_path(request))
    return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def as_events(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    async def events(request: Request) -> Response:
        return StreamingResponse(studio.feed.listen(request.is_disconnected), media_type="text/event-stream")

    return events


def as_prediction(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    async def predict(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("image/"):
            raise DataError("content-type: an image is needed")
        image = await read_body(request, MAX_BODY_BYTES)
        run = await run_in_threadpool(studio.table.find, name_in_path(request))
        is_drawn = request.query_params.get("drawn") == "1"
        answer = await to_thread.run_sync(studio.networks.predict, run, image, is_drawn, limiter=studio.slow)
        return json_response(answer)

    return predict
