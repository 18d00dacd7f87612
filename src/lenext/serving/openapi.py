"""The description of the service's addresses, as OpenAPI 3.1 has it, and a page that shows it."""

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

from lenext import __version__
from lenext.serving.options import DEADLINE, MAX_TOP
from lenext.serving.settings import MAX_BODY_BYTES, MAX_DEADLINE_SECONDS, MAX_IMAGES

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
MODEL_NAME = {"name": "name", "in": "path", "required": True, "schema": TEXT, "description": "Name of a model."}

VERSION = {"name": "version", "in": "path", "required": True, "schema": TEXT, "description": "Of the model."}
SCHEMES = {
    "key": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def content_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def describe_error(words: str) -> dict[str, Any]:
    return {"description": words, "content": content_of({"$ref": "#/components/schemas/Error"})}


def errors(**by_status: str) -> dict[str, Any]:
    """Return the answers to what is wrong, by status."""
    common = {"401": "The API key is missing or wrong.", "403": "The request comes from a page of another site."}
    return {status.lstrip("_"): describe_error(words) for status, words in {**common, **by_status}.items()}


BODY_ERRORS = errors(
    _400="An option or the body is wrong, or an image cannot be read; the line says which.",
    _404="There is no such model.",
    _405="The method is another one.",
    _408="The body did not come in time.",
    _413=f"The body has more than {MAX_BODY_BYTES:,} bytes.",
    _415="The type of the body is none that is read.",
    _503="There is no room now; `Retry-After` says when to come again.",
    _504="There was no answer within the deadline that the request gave.",
)
DEADLINE_PARAMETER = {
    "name": DEADLINE,
    "in": "header",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DEADLINE_SECONDS},
    "description": "Seconds after which nobody waits for the answer any more.",
}


@cache
def describe_service() -> dict[str, Any]:
    """Return the OpenAPI document. It names no model, so that it can be read without a key."""
    predict = {
        "post": {
            "summary": "Predict the most probable classes of images, as `lenext predict --format json` prints them.",
            "operationId": "predict",
            "parameters": [
                query("model", TEXT, "Name of a model; the first one by default."),
                query("top", {"type": "integer", "minimum": 1, "maximum": MAX_TOP}, "Number of classes an image."),
                query("invert", {"enum": ["no", "yes", "auto"]}, "Exchange dark and bright."),
                query("fit", {"enum": ["auto", "crop", "pad", "stretch"]}, "How an image of another shape is resized."),
                query("digit", {"type": "boolean"}, "Centre and scale a drawn digit as MNIST does."),
                query("explain", {"enum": ["gradcam"]}, "Add the parts of the image that the class depends on."),
                DEADLINE_PARAMETER,
            ],
            "requestBody": {
                "required": True,
                "description": f"One image: its bytes. Up to {MAX_IMAGES}: the files of a form, or a list in base64.",
                "content": {
                    "image/*": {"schema": {"type": "string", "format": "binary"}},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
                            },
                        }
                    },
                    "application/json": {
                        "schema": {
                            "type": "array", "minItems": 1, "maxItems": MAX_IMAGES,
                            "items": {"type": "string", "contentEncoding": "base64"},
                        }
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "A prediction an image.",
                    "content": content_of({"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}),
                },
                **BODY_ERRORS,
            },
        }
    }  # fmt: skip
    infer = {
        "parameters": [MODEL_NAME],
        "post": {
            "summary": "Compute the probabilities of all classes: the Open Inference Protocol.",
            "operationId": "infer",
            "parameters": [
                DEADLINE_PARAMETER,
                {
                    "name": "Inference-Header-Content-Length",
                    "in": "header",
                    "description": "Bytes of the JSON.",
                    "schema": {"type": "integer", "minimum": 0},
                },
            ],
            "requestBody": {
                "required": True,
                "description": "JSON; bytes of a tensor may follow it, and a header says then where they begin.",
                "content": content_of({"$ref": "#/components/schemas/InferRequest"}),
            },
            "responses": {
                "200": {
                    "description": "The outputs; as bytes behind the JSON where the request asks for it.",
                    "headers": {"Inference-Header-Content-Length": {"schema": {"type": "integer"}}},
                    "content": content_of({"$ref": "#/components/schemas/InferAnswer"})
                    | {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                },
                **BODY_ERRORS,
            },
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lenext",
            "version": __version__,
            "description": "Predictions of trained convolutional networks for images.",
        },
        "security": [{}, {"key": []}, {"header": []}],
        "paths": {
            "/predict": predict,
            "/v2": reading("describe_server", "Name and version of the server.", "Server"),
            "/v2/health/live": reading("live", "Whether the server runs.", "Live", is_open=True),
            "/v2/health/ready": reading(
                "ready", "Whether the server takes requests.", "Ready", unready=True, is_open=True
            ),
            "/v2/models": reading("list_models", "Names of the models.", "Models"),
            "/v2/models/{name}": {
                "parameters": [MODEL_NAME],
                **reading("describe_model", "Versions, inputs and outputs of a model.", "Model", named=True),
            },
            "/v2/models/{name}/ready": {
                "parameters": [MODEL_NAME],
                **reading("model_ready", "Whether a model takes requests.", "Ready", named=True, unready=True),
            },
            "/v2/models/{name}/infer": infer,
            "/v2/models/{name}/versions/{version}": {
                "parameters": [MODEL_NAME, VERSION],
                **reading("describe_version", "The same, if the version is the present one.", "Model", named=True),
            },
            "/v2/models/{name}/versions/{version}/ready": {
                "parameters": [MODEL_NAME, VERSION],
                **reading("version_ready", "Whether this version takes requests.", "Ready", named=True, unready=True),
            },
            "/metrics": {
                "get": {
                    "summary": "Metrics of all workers, for Prometheus.",
                    "operationId": "metrics",
                    "responses": {
                        "200": {"description": "The metrics.", "content": {"text/plain": {"schema": TEXT}}},
                        **errors(_405="The method is another one."),
                    },
                }
            },
        },
        "components": {"schemas": SCHEMAS, "securitySchemes": SCHEMES},
    }


def query(name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": words}


def reading(
    operation: str, words: str, schema: str, *, named: bool = False, unready: bool = False, is_open: bool = False
) -> dict[str, Any]:
    """Return the description of an address that is read."""
    answer = content_of({"$ref": f"#/components/schemas/{schema}"})
    responses = {"200": {"description": words, "content": answer}, **errors(_405="The method is another one.")}
    if named:
        responses |= errors(_404="There is no such model.")
    if unready:
        responses["503"] = {"description": "It does not, as the service is ending.", "content": answer}
    described = {"summary": words, "operationId": operation, "responses": responses}
    return {"get": described | ({"security": []} if is_open else {})}


def an_object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | optional}


def texts() -> dict[str, Any]:
    return {"type": "array", "items": TEXT}


TENSOR_FACTS = {"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}}
SCHEMAS: dict[str, Any] = {
    "Error": an_object({"error": TEXT}),
    "Live": an_object({"live": {"type": "boolean"}}),
    "Ready": an_object({"ready": {"type": "boolean"}}, name=TEXT),
    "Server": an_object({"name": TEXT, "version": TEXT, "extensions": texts()}),
    "Models": an_object({"models": texts()}),
    "Model": an_object(
        {
            "name": TEXT,
            "versions": texts(),
            "platform": TEXT,
            "inputs": {"type": "array", "items": an_object(TENSOR_FACTS)},
            "outputs": {"type": "array", "items": an_object(TENSOR_FACTS)},
        }
    ),
    "Prediction": an_object(
        {
            "path": TEXT,
            "classes": texts(),
            "probabilities": {"type": "array", "items": NUMBER},
            "remarks": texts(),
            "engine": TEXT,
        },
        explanation=an_object({"method": TEXT, "class": TEXT, "png": {"type": "string", "contentEncoding": "base64"}}),
    ),
    "InferRequest": an_object(
        {
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": an_object(
                    {
                        "name": {"enum": ["pixels", "images"]},
                        "datatype": {"enum": ["UINT8", "BYTES"], "description": "UINT8 of pixels, BYTES of images."},
                        "shape": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 4,
                            "items": {"type": "integer", "minimum": 1},
                        },
                    },
                    data={"type": "array"},
                    parameters={"type": "object"},
                ),
            }
        },
        id=TEXT,
        parameters={"type": "object"},
        outputs={
            "type": "array",
            "items": an_object({"name": {"enum": ["probabilities", "class"]}}, parameters={"type": "object"}),
        },
    ),
    "InferAnswer": an_object(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "outputs": {"type": "array", "items": an_object(TENSOR_FACTS, data={"type": "array"})},
        },
        id=TEXT,
    ),
}
EXAMPLES = """curl --data-binary @photo.jpg -H "content-type: image/jpeg" "ADDRESS/predict?top=3"
curl -F image=@one.jpg -F image=@two.jpg ADDRESS/predict
curl ADDRESS/v2/models
curl ADDRESS/metrics"""


@cache
def docs_page() -> bytes:
    """Return the page of the addresses: made from the OpenAPI document, without scripts."""
    document = describe_service()
    parts = []
    for path, item in document["paths"].items():
        method, operation = next((key, value) for key, value in item.items() if key in ("get", "post"))
        rows = [
            (f"<code>{escape(each['name'])}</code>", escape(each["in"]), describe_schema(each["schema"]),
             escape(each["description"]))
            for each in (*item.get("parameters", ()), *operation.get("parameters", ()))
        ]  # fmt: skip
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            rows.append((f"<code>{escape(kind)}</code>", "body", describe_schema(content["schema"]), ""))
        answers = [(status, inline(answer["description"])) for status, answer in sorted(operation["responses"].items())]
        parts.append(
            f"<section><h2><span>{method.upper()}</span> <code>{escape(path)}</code></h2>"
            f"<p>{inline(operation['summary'])}</p>"
            + (table(("parameter", "in", "values", ""), rows) if rows else "")
            + f"<details><summary>answers</summary>{table(('status', ''), answers)}</details></section>"
        )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lenext: addresses of the service</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="/static/serve.css"></head><body class="docs"><main>'
        f'<h1>Addresses of the service</h1><p><a href="/">Try an image</a> · <a href="/openapi.json">OpenAPI '
        f"document</a> · lenext {escape(__version__)}</p><pre>{escape(EXAMPLES)}</pre>{''.join(parts)}</main></body>"
        "</html>"
    )
    return page.encode()


def inline(text: str) -> str:
    """Return text as HTML, with code between backticks."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table; its cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def describe_schema(schema: dict[str, Any]) -> str:
    """Return the values of a parameter in words."""
    if "$ref" in schema:
        return escape(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return escape(", ".join(schema["enum"]))
    if "properties" in schema:
        return "files"
    if schema["type"] == "array":
        return "a list in base64"
    return "an image's bytes" if schema.get("format") == "binary" else escape(schema["type"])
