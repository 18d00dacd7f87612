"""The routes of the studio: each reads a request, calls a module of this package, and answers with JSON or a file."""

import json
import secrets
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lenext.foundation.errors import ConfigurationError, DataError, LenextError, RunError
from lenext.foundation.files import read_regular
from lenext.studio import data_views, run_table, training_form
from lenext.studio.commands import Commands, command_line
from lenext.studio.drawing import OpenNetworks
from lenext.studio.feed import Feed, to_json
from lenext.studio.guard import PAGE_POLICY, Guard
from lenext.studio.page import content_of, policy
from lenext.studio.review import Reviews
from lenext.studio.run_table import RunTable
from lenext.studio.training_form import text_of

MAX_JSON_BYTES = 1 << 20
MAX_PAGE_BYTES = 128 << 20
MAX_IMAGE_BYTES = 20 << 20
MAX_COMPARED = 50
SLOW, SLOW_THREADS = ("/api/data", "/data/", "/api/audits/"), 4
"""Addresses whose answers may wait for data to be read; all others are answered meanwhile."""


@dataclass
class Studio:
    """What the routes work with.

    Attributes:
        runs_dir: The folder of the runs.
        data_dir: Where published data are; None for the default.
        offline: Whether the network must not be used.
    """

    runs_dir: Path
    data_dir: Path | None = None
    offline: bool = False
    commands: Commands = field(default_factory=Commands)
    networks: OpenNetworks = field(default_factory=OpenNetworks)

    def __post_init__(self) -> None:
        self.table = RunTable(self.runs_dir)
        self.data = data_views.OpenData(self.data_dir, self.offline)
        self.reviews = Reviews(self.runs_dir)
        self.feed = Feed(self.table, self.commands)
        self.slow = CapacityLimiter(SLOW_THREADS)
        self.starting = threading.Lock()
        self.stopping: set[int] = set()  # processes that were asked to stop

    @property
    def preparing(self) -> set[str]:
        """The names of runs that commands of this studio train, or are about to."""
        return {each.name for each in self.commands.running("train")}

    @property
    def common(self) -> list[str]:
        """The options that every command of this studio has which reads data."""
        data_dir = [f"--data-dir={self.data_dir}"] if self.data_dir else []
        return data_dir + (["--offline"] if self.offline else [])


Handler = Callable[[Studio, Request, Mapping[str, Any]], Any]


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


def as_route(studio: Studio, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return a route that calls a handler in a thread, with the JSON of the request's body."""

    async def route(request: Request) -> Response:
        body = await read_json(request) if request.method == "POST" else {}
        limiter = studio.slow if request.url.path.startswith(SLOW) else None
        answer = await to_thread.run_sync(handler, studio, request, body, limiter=limiter)
        return answer if isinstance(answer, Response) else json_response(answer)

    return route


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


def run_name(request: Request) -> str:
    return str(request.path_params["name"])


# The page and its files


def send_page(_: Studio, request: Request, __: object) -> Response:
    return Response(content_of("studio.html")[0], media_type="text/html")


def send_static(_: Studio, request: Request, __: object) -> Response:
    content, kind = content_of(run_name(request))
    return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def as_events(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    async def events(request: Request) -> Response:
        return StreamingResponse(studio.feed.listen(request.is_disconnected), media_type="text/event-stream")

    return events


# Runs


def list_runs(studio: Studio, *_: object) -> Any:
    return {"runs": list(studio.table.rows().values()), "folder": str(studio.runs_dir)}


def show_run(studio: Studio, request: Request, _: object) -> Any:
    return run_table.describe(studio.table.find(run_name(request)))


def send_run_file(studio: Studio, request: Request, _: object) -> Response:
    """Answer with a page or figure of a run; pages have no origin, as they may come from elsewhere."""
    file = str(request.path_params["file"])
    if file not in (*run_table.PAGES, *run_table.FIGURES):
        raise RunError(f"{file}: no page or figure of a run")
    return send_file(studio.table.find(run_name(request)).path / file)


def send_file(path: Path) -> Response:
    """Answer with a page or figure."""
    try:
        content = read_regular(path, MAX_PAGE_BYTES)
    except OSError as error:
        raise RunError(f"{path.name}: it is not there ({error.strerror or error})") from error
    if path.suffix == ".png":
        return Response(content, media_type="image/png")
    return Response(content, media_type="text/html", headers={"content-security-policy": PAGE_POLICY})


def stop_run(studio: Studio, request: Request, _: object) -> Any:
    """Stop the training of a run, wherever it was started."""
    run = studio.table.find(run_name(request))
    process = run.trainer
    if process is None:
        raise ConfigurationError(f"{run.path.name}: no process trains it now")
    if not run.process_note.get("heeds_signals"):
        raise ConfigurationError(f"{run.path.name}: a program of yours trains it, in a thread; stop it there")
    if process.pid in studio.stopping:
        raise ConfigurationError(f"{run.path.name}: it is stopping already; a second time would abort it")
    try:
        process.terminate()
    except psutil.Error as error:
        raise ConfigurationError(f"{run.path.name}: its process {process.pid} cannot be stopped ({error})") from error
    for command in studio.commands.running("train"):
        command.is_stopping |= command.process.pid == process.pid
    studio.stopping = {pid for pid in studio.stopping if psutil.pid_exists(pid)} | {process.pid}
    return {"stopping": run.path.name}


def resume_run(studio: Studio, request: Request, body: Mapping[str, Any]) -> Any:
    run = studio.table.find(run_name(request))
    if run.trainer:
        raise ConfigurationError(f"{run.path.name}: a process trains it already")
    epochs = text_of(body, "epochs")
    if run.is_finished(run.experiment) and not epochs:
        raise ConfigurationError(f"{run.path.name}: it has ended; give it more epochs")
    options = [f"--epochs={epochs}"] if epochs else []
    with studio.starting:
        if run.path.name in studio.preparing:
            raise ConfigurationError(f"{run.path.name}: a process trains it already")
        arguments = ["resume", str(run.path), *options, *studio.common]
        return studio.commands.start("train", arguments, name=run.path.name).describe()


def write_page(studio: Studio, request: Request, _: object) -> Any:
    """Start `lenext report` or `lenext explore` of a run."""
    run, verb = studio.table.find(run_name(request)), str(request.path_params["verb"])
    if verb not in ("report", "explore"):
        raise ConfigurationError(f"{verb}: report and explore write pages")
    page = run.path / ("report.html" if verb == "report" else "explorer.html")
    return studio.commands.start(verb, [verb, str(run.path), *studio.common], page=page, name=run.path.name).describe()


def compare_runs(studio: Studio, _: Request, body: Mapping[str, Any]) -> Any:
    names = body.get("runs")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError("runs: a list of names is needed")
    if not 2 <= len(names) <= MAX_COMPARED:
        raise ConfigurationError(f"runs: from 2 to {MAX_COMPARED} are compared")
    paths = [str(studio.table.find(name).path) for name in names]
    page = Path(studio.commands.folder.name, f"compare-{secrets.token_hex(8)}.html")
    return studio.commands.start("compare", ["compare", *paths, f"--out={page}"], page=page).describe()


# Trainings


def show_form(_: Studio, request: Request, __: object) -> Any:
    query = request.query_params
    return training_form.describe_form(query.get("network", ""), query.get("recipe", ""))


def show_choices(*_: object) -> Any:
    return training_form.describe_choices()


def plan_training(studio: Studio, _: Request, body: Mapping[str, Any]) -> Any:
    """Start a dry run of the training in the form: its plan, with its time. It replaces the one in `previous`."""
    form = {key: value for key, value in body.items() if key != "previous"}
    arguments, name = arguments_of(studio, form)
    with suppress(LenextError):  # it may have ended
        studio.commands.stop(text_of(body, "previous"))
    command = studio.commands.start("plan", [*arguments, "--dry-run", "--json"], name=name)
    return command.describe() | {"training": command_line(arguments)}


def start_training(studio: Studio, _: Request, body: Mapping[str, Any]) -> Any:
    with studio.starting:  # of two with the same name one is refused
        arguments, name = arguments_of(studio, body)
        return studio.commands.start("train", arguments, name=name).describe()


def arguments_of(studio: Studio, form: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the arguments of the training in a form, and its run's name."""
    name = training_form.choose_name(form, studio.runs_dir, studio.preparing)
    return training_form.training_arguments(form, studio.runs_dir, name) + studio.common, name


# Commands


def show_command(studio: Studio, request: Request, _: object) -> Any:
    return studio.commands.find(str(request.path_params["number"])).describe()


def stop_command(studio: Studio, request: Request, _: object) -> Any:
    number = str(request.path_params["number"])
    studio.commands.stop(number)
    return studio.commands.find(number).describe()


def send_command_page(studio: Studio, request: Request, _: object) -> Response:
    command = studio.commands.find(str(request.path_params["number"]))
    if command.page is None or command.state != "done":
        raise RunError("the command has written no page")
    return send_file(command.page)


# Data and audits


def show_data(studio: Studio, request: Request, _: object) -> Any:
    source = request.query_params.get("source", "")
    return data_views.describe_data(source, studio.data.open(source, is_fresh=True))


def show_images(studio: Studio, request: Request, _: object) -> Any:
    query = request.query_params
    data = studio.data.open(query.get("source", ""))
    return data_views.list_images(
        data, query.get("split", "train"), query.get("label", ""), whole_number(request, "page")
    )


def send_image(studio: Studio, request: Request, _: object) -> Response:
    data = studio.data.open(request.query_params.get("source", ""))
    image = data_views.find_image(data, request.query_params.get("split", "train"), whole_number(request, "row"))
    return Response(data_views.to_png(image), media_type="image/png")


def send_augmented(studio: Studio, request: Request, _: object) -> Response:
    """Answer with an image as training would see it: keys of the augmentation are in the address."""
    query = dict(request.query_params)
    recipe_name, draw = query.pop("recipe", ""), whole_number(request, "draw")
    data = studio.data.open(query.pop("source", ""), data_views.preview_side(recipe_name))
    image = data_views.find_image(data, query.pop("split", "train"), whole_number(request, "row"))
    keys = {key: value for key, value in query.items() if key not in ("row", "draw")}
    recipe = data_views.preview_recipe(recipe_name, keys)
    return Response(data_views.to_png(data_views.augment_image(data, image, recipe, draw)), media_type="image/png")


def list_audits(studio: Studio, *_: object) -> Any:
    """Return the audits, with their state: running, done, or ended before its end."""
    running = {each.name for each in studio.commands.running("audit")}
    audits = studio.reviews.all()
    for audit in audits:
        audit["state"] = "running" if audit["name"] in running else "done" if audit["is_done"] else "not ended"
    return {"audits": audits}


def start_audit(studio: Studio, _: Request, body: Mapping[str, Any]) -> Any:
    """Start `lenext audit` of some data."""
    source, labels = text_of(body, "data"), body.get("labels") is not False
    if source.startswith("-"):
        raise ConfigurationError(f"{source}: not the name of data")
    data_views.check_source(source)  # before a folder is made
    path = studio.reviews.begin(source)
    options = [f"--out={path}", *([] if labels else ["--no-labels"]), *studio.common]
    return studio.commands.start("audit", ["audit", source, *options], name=path.name).describe()


def show_audit(studio: Studio, request: Request, _: object) -> Any:
    name = run_name(request)
    return studio.reviews.describe(name, studio.data.open(studio.reviews.source(name)))


def send_audit_page(studio: Studio, request: Request, _: object) -> Response:
    return send_file(studio.reviews.find(run_name(request)) / "audit.html")


def decide(studio: Studio, request: Request, body: Mapping[str, Any]) -> Any:
    name = run_name(request)
    data = studio.data.open(studio.reviews.source(name))
    decision = [text_of(body, key) for key in ("split", "sample", "decision", "label")]
    return {"decisions": studio.reviews.decide(name, data, *decision)}


# Drawing


def as_prediction(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    async def predict(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("image/"):
            raise DataError("content-type: an image is needed")
        image = await read_body(request, MAX_IMAGE_BYTES)
        run = await run_in_threadpool(studio.table.find, run_name(request))
        is_drawn = request.query_params.get("drawn") == "1"
        answer = await to_thread.run_sync(studio.networks.predict, run, image, is_drawn, limiter=studio.slow)
        return json_response(answer)

    return predict


READING: dict[str, Handler] = {
    "/api/runs": list_runs,
    "/api/runs/{name}": show_run,
    "/runs/{name}/{file}": send_run_file,
    "/api/form": show_form,
    "/api/choices": show_choices,
    "/api/commands/{number}": show_command,
    "/commands/{number}/page": send_command_page,
    "/api/data": show_data,
    "/api/data/images": show_images,
    "/data/image": send_image,
    "/data/augmented": send_augmented,
    "/api/audits": list_audits,
    "/api/audits/{name}": show_audit,
    "/audits/{name}/audit.html": send_audit_page,
}
ACTING: dict[str, Handler] = {
    "/api/runs/{name}/stop": stop_run,
    "/api/runs/{name}/resume": resume_run,
    "/api/runs/{name}/pages/{verb}": write_page,
    "/api/commands/{number}/stop": stop_command,
    "/api/compare": compare_runs,
    "/api/plan": plan_training,
    "/api/trainings": start_training,
    "/api/audits": start_audit,
    "/api/audits/{name}/decisions": decide,
}
