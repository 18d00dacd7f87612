"""The routes of runs, trainings and commands. Each takes the studio, a request and the JSON of its body."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from starlette.requests import Request
from starlette.responses import Response

from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.studio import run_table, training_form
from lenext.studio.answers import name_in_path, send_file
from lenext.studio.commands import command_line
from lenext.studio.state import Handler, Studio
from lenext.studio.training_form import text_of

MAX_COMPARED = 50


def list_runs(studio: Studio, *_: object) -> Any:
    return {"runs": list(studio.table.rows().values()), "folder": str(studio.runs_dir)}


def show_run(studio: Studio, request: Request, _: object) -> Any:
    return run_table.describe(studio.table.find(name_in_path(request)))


def send_run_file(studio: Studio, request: Request, _: object) -> Response:
    """Answer with a page or figure of a run; pages have no origin, as they may come from elsewhere."""
    file = str(request.path_params["file"])
    if file not in (*run_table.PAGES, *run_table.FIGURES):
        raise RunError(f"{file}: no page or figure of a run")
    return send_file(studio.table.find(name_in_path(request)).path / file)


def stop_run(studio: Studio, request: Request, _: object) -> Any:
    """Stop the training of a run, wherever it was started."""
    run = studio.table.find(name_in_path(request))
    process = run.trainer
    if process is None:
        raise ConfigurationError(f"{run.path.name}: no process trains it now")
    if not run.process_note.get("heeds_signals"):
        raise ConfigurationError(f"{run.path.name}: a program of yours trains it, in a thread; stop it there")
    command = next((each for each in studio.commands.running("train") if each.process.pid == process.pid), None)
    if command:
        studio.commands.stop(command.number)
        return {"stopping": run.path.name}
    if process.pid in studio.stopping:
        raise ConfigurationError(f"{run.path.name}: it is stopping already; a second time would abort it")
    try:
        process.terminate()
    except psutil.Error as error:
        raise ConfigurationError(f"{run.path.name}: its process {process.pid} cannot be stopped ({error})") from error
    studio.stopping = {pid for pid in studio.stopping if psutil.pid_exists(pid)} | {process.pid}
    return {"stopping": run.path.name}


def resume_run(studio: Studio, request: Request, body: Mapping[str, Any]) -> Any:
    run = studio.table.find(name_in_path(request))
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
    run, verb = studio.table.find(name_in_path(request)), str(request.path_params["verb"])
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


READING: dict[str, Handler] = {
    "/api/runs": list_runs,
    "/api/runs/{name}": show_run,
    "/runs/{name}/{file}": send_run_file,
    "/api/form": show_form,
    "/api/choices": show_choices,
    "/api/commands/{number}": show_command,
    "/commands/{number}/page": send_command_page,
}
ACTING: dict[str, Handler] = {
    "/api/runs/{name}/stop": stop_run,
    "/api/runs/{name}/resume": resume_run,
    "/api/runs/{name}/pages/{verb}": write_page,
    "/api/compare": compare_runs,
    "/api/plan": plan_training,
    "/api/trainings": start_training,
    "/api/commands/{number}/stop": stop_command,
}
