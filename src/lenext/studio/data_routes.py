"""The routes of data and audits. Each takes the studio, a request and the JSON of its body."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lenext.foundation.errors import ConfigurationError
from lenext.studio import data_views
from lenext.studio.answers import name_in_path, send_file, whole_number
from lenext.studio.state import Handler, Studio
from lenext.studio.training_form import text_of


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
    name = name_in_path(request)
    return studio.reviews.describe(name, studio.data.open(studio.reviews.source(name)))


def send_audit_page(studio: Studio, request: Request, _: object) -> Response:
    return send_file(studio.reviews.find(name_in_path(request)) / "audit.html")


def decide(studio: Studio, request: Request, body: Mapping[str, Any]) -> Any:
    name = name_in_path(request)
    data = studio.data.open(studio.reviews.source(name))
    decision = [text_of(body, key) for key in ("split", "sample", "decision", "label")]
    return {"decisions": studio.reviews.decide(name, data, *decision)}


READING: dict[str, Handler] = {
    "/api/data": show_data,
    "/api/data/images": show_images,
    "/data/image": send_image,
    "/data/augmented": send_augmented,
    "/api/audits": list_audits,
    "/api/audits/{name}": show_audit,
    "/audits/{name}/audit.html": send_audit_page,
}
ACTING: dict[str, Handler] = {
    "/api/audits": start_audit,
    "/api/audits/{name}/decisions": decide,
}
