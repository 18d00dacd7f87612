"""The web application of a worker: predictions, the inference protocol, health, metrics and pages.

`/predict` is answered here without a router, as a router costs as much as the prediction of a small network.
"""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from lenext import __version__
from lenext.data.images import DecodedImage
from lenext.foundation.errors import LenextError, RunError, unknown_name
from lenext.serving import tensors
from lenext.serving.answers import Answer, Head, RefusedError, check_method, error_answer, json_answer, status_of
from lenext.serving.batching import Batcher
from lenext.serving.bodies import read_images
from lenext.serving.guard import OPEN, Guard
from lenext.serving.jobs import FullError, Job
from lenext.serving.metrics import Metrics
from lenext.serving.models import ServedModel
from lenext.serving.openapi import describe_service, docs_page
from lenext.serving.options import DEFAULTS, read_deadline, read_options
from lenext.serving.reading import BodyReader
from lenext.serving.request_log import RequestLog
from lenext.serving.settings import MAX_IMAGES, ServiceSettings
from lenext.web.headers import page_policy
from lenext.web.pages import content_of

PACKAGE = "lenext.serving"
PREDICT, INFER = "/predict", "/v2/models/{name}/infer"
WATCH_SECONDS = 0.2  # between two looks at the clients that wait, as they may vanish
LARGE_BODY_BYTES = 1 << 16  # taken apart in a thread
CLIENT_GONE = 499  # as nginx counts it
MAX_ID_CHARACTERS = 100


class Service:
    """The application of a worker.

    Attributes:
        models: By name, the first being the default.
        is_ready: Whether it takes requests; false while it ends.
    """

    def __init__(self, settings: ServiceSettings, models: Mapping[str, ServedModel], metrics: Metrics) -> None:
        """Put a service together, within a running event loop.

        Args:
            settings: What it does.
            models: By name.
            metrics: Where it counts.
        """
        self.settings, self.models, self.metrics = settings, dict(models), metrics
        self.batcher = Batcher(settings.threads, settings.queue, metrics)
        self.log = RequestLog(settings.request_log)
        self.max_images = min(MAX_IMAGES, settings.queue)
        self.guard, self.is_ready = Guard(settings), True
        self.waiting: dict[Job, Receive] = {}
        self.bodies = BodyReader(self.batcher.check_room)
        self.routes: dict[str, tuple[str, Callable[[Scope], Answer]]] = {
            "/": ("GET", lambda _: self.send_page("serve.html")),
            "/docs": ("GET", lambda _: self.send_docs()),
            "/openapi.json": ("GET", lambda _: json_answer(describe_service())),
            "/metrics": ("GET", lambda _: self.send_metrics()),
            "/v2": ("GET", lambda _: json_answer(self.describe())),
            "/v2/": ("GET", lambda _: json_answer(self.describe())),
            "/v2/health/live": ("GET", lambda _: json_answer({"live": True})),
            "/v2/health/ready": ("GET", lambda _: self.send_readiness()),
            "/v2/models": ("GET", lambda _: json_answer({"models": list(self.models)})),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        began = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = find_route(scope["path"])
        try:
            self.guard.admit(scope, headers)
            answer = await self.respond(scope, headers, receive)
        except asyncio.CancelledError:
            answer = Answer(CLIENT_GONE, b"")
        except FullError as error:
            self.metrics.count_refusal(error.reason)
            answer = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"retry-after": str(error.retry_seconds)})
        except RefusedError as error:
            answer = error_answer(error.status, str(error), error.headers)
        except LenextError as error:
            answer = error_answer(status_of(error), str(error))
        except MemoryError:
            self.metrics.count_refusal("memory")
            words = "there is no memory left; come again"
            answer = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, words, {"retry-after": "5"})
        except Exception as error:
            traceback.print_exception(error)
            words = f"{type(error).__name__}: {error}; the terminal of `lenext serve` has more; please report it"
            answer = error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, words)
        await self.send(scope, headers, send, answer, route, began)

    async def send(self, scope: Scope, headers: Head, send: Send, answer: Answer, route: str, began: float) -> None:
        """Count, log and send an answer."""
        seconds = time.perf_counter() - began
        self.metrics.count_request(route, answer.status, seconds)
        if self.log.file >= 0:
            client, identity = scope.get("client"), headers.get("x-request-id")
            self.log.write(
                **({"id": identity[:MAX_ID_CHARACTERS]} if identity else {}),
                client=client[0] if client else "", method=scope["method"], route=route, status=answer.status,
                ms=round(1000 * seconds, 2), **answer.noted,
            )  # fmt: skip
        if answer.status == CLIENT_GONE:
            return
        sent = answer.encoded_headers()
        if origin := self.guard.allowed_origin(headers):
            sent = [each for each in sent if each[0] != b"cross-origin-resource-policy"]
            sent += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"origin")]
        if not self.is_ready:
            sent.append((b"connection", b"close"))
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    async def respond(self, scope: Scope, headers: Head, receive: Receive) -> Answer:
        """Return the answer to an admitted request."""
        path, method = scope["path"], scope["method"]
        if method == "OPTIONS" and (leave := self.guard.give_leave(headers)):
            return leave
        if path == PREDICT:
            check_method(method, "POST")
            return await self.predict(scope, headers, receive)
        if path.startswith("/v2/models/"):
            return await self.answer_about_model(path.split("/")[3:], method, headers, receive)
        if path in self.routes:
            allowed, handler = self.routes[path]
            check_method(method, allowed)
            return handler(scope)
        if path.startswith("/static/"):
            check_method(method, "GET")
            return self.send_page(path.removeprefix("/static/"))
        raise RefusedError(HTTPStatus.NOT_FOUND, f"{path[:200]}: there is no such address; /docs lists them")

    def find_model(self, name: str) -> ServedModel:
        """Return a model by its name; the first one for an empty name. Raises RunError."""
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RunError(unknown_name("model", name[:200], self.models))
        return self.models[name]

    async def predict(self, scope: Scope, headers: Head, receive: Receive) -> Answer:
        """Answer with the predictions of the images in a request, as `lenext predict --format json` prints them."""
        query = scope["query_string"]
        name, options = read_options(QueryParams(query)) if query else ("", DEFAULTS)
        model, deadline = self.find_model(name), read_deadline(headers)
        if options.explain:
            model.check_explained()
        body = await self.bodies.read_body(headers, receive)
        with self.bodies.hold(body):
            images = await off_loop(read_images, headers, body, self.max_images, size=len(body))
        del body
        job = self.batcher.submit(model, images, options)
        await self.wait(job, deadline, receive)
        answer = json_answer(job.answers, **note(job))
        answer.headers = {"x-model": model.name, "x-model-version": model.version}
        return answer

    async def answer_about_model(self, parts: Sequence[str], method: str, headers: Head, receive: Receive) -> Answer:
        """Answer what the Open Inference Protocol asks of a model: its metadata, whether it is ready, inference."""
        name, *rest = parts
        model = self.find_model(name or "?")
        if len(rest) > 1 and rest[0] == "versions":
            if rest[1] != model.version:
                raise RunError(f"model {name}: there is no version {rest[1][:200]}; it is {model.version}")
            rest = rest[2:]
        if rest == []:
            check_method(method, "GET")
            return json_answer(tensors.describe_model(model))
        if rest == ["ready"]:
            check_method(method, "GET")
            return self.send_readiness({"name": model.name})
        if rest == ["infer"]:
            check_method(method, "POST")
            return await self.infer(model, headers, receive)
        raise RefusedError(HTTPStatus.NOT_FOUND, f"{'/'.join(rest)[:200]}: there is no such address; /docs lists them")

    async def infer(self, model: ServedModel, headers: Head, receive: Receive) -> Answer:
        """Answer with the probabilities of all classes."""
        deadline, body = read_deadline(headers), await self.bodies.read_body(headers, receive)

        def read() -> tuple[tensors.InferRequest, list[tuple[str, bytes | DecodedImage]]]:
            request = tensors.read_request(headers, body, model, self.max_images)
            images: list[tuple[str, bytes | DecodedImage]] = [
                (name, image if isinstance(image, bytes) else model.resize_pixels(image))
                for name, image in request.images
            ]
            return request, images

        with self.bodies.hold(body):
            request, images = await off_loop(read, size=len(body))
        job = self.batcher.submit(model, images, raw=True)
        await self.wait(job, deadline, receive)
        content, split = tensors.write_answer(model, request, np.stack(job.answers))
        answer = Answer(HTTPStatus.OK, content, noted=note(job))
        if split is not None:
            answer.media_type = "application/octet-stream"
            answer.headers = {tensors.BINARY_HEADER: str(split)}
        return answer

    async def wait(self, job: Job, deadline: float | None, receive: Receive) -> None:
        """Wait until a request is answered, its deadline has passed, or its client has gone.

        Raises:
            RefusedError: The deadline has passed.
            asyncio.CancelledError: The client has gone.
            LenextError: An image cannot be predicted.
        """
        loop, timer = self.batcher.loop, None
        ends = loop.time() + (deadline or 0.0)
        if deadline is not None:
            timer = loop.call_at(ends, self.batcher.drop, job)
        self.waiting[job] = receive
        try:
            await job.done
        except asyncio.CancelledError:
            if deadline is not None and loop.time() >= ends:
                raise RefusedError(HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {deadline} s, as asked") from None
            raise
        finally:
            del self.waiting[job]
            if timer:
                timer.cancel()

    async def watch_clients(self) -> None:
        """Forget the requests whose clients have gone; of those that wait for long only, as most are answered soon."""
        watching: dict[Job, asyncio.Task[Message]] = {}
        before: set[Job] = set()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for job in watching.keys() - self.waiting.keys():
                watching.pop(job).cancel()
            for job in before & self.waiting.keys() - watching.keys():
                watching[job] = asyncio.ensure_future(self.waiting[job]())
            for job, task in watching.items():
                if task.done() and task.result()["type"] == "http.disconnect":
                    self.batcher.drop(job)
            before = set(self.waiting)

    def describe(self) -> dict[str, Any]:
        """Return the metadata of the server."""
        return {"name": "lenext", "version": __version__, "extensions": ["binary_tensor_data"]}

    def send_readiness(self, named: Mapping[str, str] | None = None) -> Answer:
        """Answer whether requests are taken."""
        status = HTTPStatus.OK if self.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return json_answer({**(named or {}), "ready": self.is_ready}, status)

    def send_metrics(self) -> Answer:
        """Answer with the metrics of all workers."""
        content, media_type = self.metrics.expose()
        return Answer(HTTPStatus.OK, content, media_type)

    def send_page(self, name: str) -> Answer:
        """Answer with a file of the page."""
        content, kind = content_of(PACKAGE, name)
        return Answer(HTTPStatus.OK, content, kind, {"content-security-policy": page_policy()})

    def send_docs(self) -> Answer:
        """Answer with the page that describes the addresses."""
        return Answer(HTTPStatus.OK, docs_page(), "text/html", {"content-security-policy": page_policy()})


def note(job: Job) -> dict[str, Any]:
    """Return what the log says about a request's images."""
    return {"model": job.model.name, "version": job.model.version, "images": len(job.answers), "batch": job.batch}


def find_route(path: str) -> str:
    """Return the name under which the requests of an address are counted."""
    if path.startswith("/v2/models/"):
        return INFER if path.endswith("/infer") else "/v2/models/{name}"
    if path.startswith("/static/"):
        return "/static"
    return path if path == PREDICT or path in OPEN or path in ("/metrics", "/v2", "/v2/", "/v2/models") else "other"


async def off_loop(work: Callable[..., Any], *arguments: Any, size: int) -> Any:
    """Return what a function returns; it is called in a thread where a body is large."""
    if size < LARGE_BODY_BYTES:
        return work(*arguments)
    return await run_in_threadpool(work, *arguments)
