"""The Open Inference Protocol, version 2: tensors in JSON, or as bytes behind it, in and out.

Source: github.com/kserve/open-inference-protocol, with the extension for binary tensors of Triton Inference Server.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenext.foundation.errors import DataError
from lenext.serving.bodies import decode_base64
from lenext.serving.models import ServedModel

BINARY_HEADER = "inference-header-content-length"
MAX_PIXELS, MAX_SIDE, MAX_SIDES = 64_000_000, 1 << 14, 4
MAX_JSON_VALUES = 1_000_000  # while they are parsed, nothing else is done
PIXELS, IMAGES = "pixels", "images"
OUTPUTS = ("probabilities", "class")
MAX_SHOWN_CHARACTERS = 100


Image = tuple[str, bytes | NDArray[np.uint8]]
"""What an image is called, and its file, or its decoded pixels (C, H, W)."""


@dataclass(frozen=True)
class InferRequest:
    """A request for inference.

    Attributes:
        id: What the client calls it; None where it says nothing.
        images: The images.
        outputs: The outputs that are asked for, and whether each is wanted as bytes.
    """

    id: str | None
    images: Sequence[Image]
    outputs: Mapping[str, bool]


def describe_model(model: ServedModel) -> dict[str, Any]:
    """Return the metadata of a model."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": f"lenext_{model.predictor.engine.split()[0].rstrip(',')}",
        "inputs": [{"name": PIXELS, "datatype": "UINT8", "shape": [-1, model.prepare.channels, -1, -1]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model.classes)]},
            {"name": "class", "datatype": "BYTES", "shape": [-1]},
        ],
    }


def read_request(headers: Mapping[str, str], body: bytes, model: ServedModel, max_images: int) -> InferRequest:
    """Read a request for inference.

    Args:
        headers: Of the request; one of them says where the bytes of tensors begin.
        body: JSON, and these bytes.
        model: What is asked.
        max_images: How many images there may be.

    Raises:
        DataError: It is not what the protocol asks for, or not what the model takes.
    """
    split = read_split(headers, len(body))
    if body.count(b",", 0, split) > MAX_JSON_VALUES:
        raise DataError(f"at most {MAX_JSON_VALUES:,} values in JSON are read; send the pixels as bytes behind it")
    try:
        content = json.loads(body[:split])
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is no JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list) or len(content["inputs"]) != 1:
        raise DataError(f"inputs: one is needed, {PIXELS} or {IMAGES}")
    identity = content.get("id")
    if not isinstance(identity, str | None):
        raise DataError("id: a text is needed")
    wants_bytes = bool(read_parameters(content, {"binary_data_output"}, "parameters").get("binary_data_output", False))
    images = read_input(content["inputs"][0], body[split:], model, max_images)
    return InferRequest(identity, images, read_outputs(content.get("outputs"), wants_bytes))


def read_split(headers: Mapping[str, str], length: int) -> int:
    """Return where the JSON of a body ends."""
    text = headers.get(BINARY_HEADER)
    if text is None:
        return length
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= length):
        raise DataError(f"{BINARY_HEADER}: {text[:MAX_SHOWN_CHARACTERS]}: not the length of a part of the body")
    return int(text)


def read_parameters(content: Mapping[str, Any], known_names: set[str], where: str) -> dict[str, Any]:
    """Return the parameters of a part of a request. Raises DataError for one that has no effect."""
    parameters = content.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise DataError(f"{where}: an object is needed")
    if unknown := sorted(map(str, parameters.keys() - known_names)):
        raise DataError(f"{where}: {unknown[0][:MAX_SHOWN_CHARACTERS]} has no effect here; leave it out")
    return parameters


def read_outputs(outputs: Any, wants_bytes: bool) -> dict[str, bool]:
    """Return the outputs that are asked for, all by default."""
    if outputs is None or outputs == []:
        return dict.fromkeys(OUTPUTS, wants_bytes)
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise DataError("outputs: a list of objects is needed")
    by_name = {}
    for each in outputs:
        if each.get("name") not in OUTPUTS:
            name = str(each.get("name"))[:MAX_SHOWN_CHARACTERS]
            raise DataError(f"outputs: there is no {name}; there are: {', '.join(OUTPUTS)}")
        parameters = read_parameters(each, {"binary_data"}, f"outputs {each['name']}")
        by_name[each["name"]] = bool(parameters.get("binary_data", wants_bytes))
    return by_name


def read_input(tensor: Any, content: bytes, model: ServedModel, max_images: int) -> list[Image]:
    """Return the images of an input."""
    if not isinstance(tensor, dict) or tensor.get("name") not in (PIXELS, IMAGES):
        raise DataError(f"inputs: the name must be {PIXELS} or {IMAGES}")
    name, shape = tensor["name"], read_shape(tensor)
    parameters = read_parameters(tensor, {"binary_data_size", "content_type"}, f"inputs {name}")
    kind = "UINT8" if name == PIXELS else "BYTES"
    if tensor.get("datatype") != kind:
        raise DataError(f"inputs {name}: the datatype must be {kind}")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(content)):
        raise DataError(f"inputs {name}: binary_data_size is not that of the bytes behind the JSON, {len(content):,}")
    if size is None and content:
        raise DataError("there are bytes behind the JSON that belong to no input")
    if name == IMAGES:
        count = math.prod(shape)
        if count > max_images:
            raise too_many(count, max_images)
        files = split_texts(content, count) if size is not None else read_texts(tensor.get("data"), count)
        if count != len(files):
            raise DataError(f"inputs {name}: shape {shape} is not that of the images that came")
        return [(f"image {place}", file) for place, file in enumerate(files, 1)]
    channels = model.prepare.channels
    if shape[0] > max_images:
        raise too_many(shape[0], max_images)
    if len(shape) != 4 or shape[1] != channels or max(shape[2:]) > MAX_SIDE or math.prod(shape) > channels * MAX_PIXELS:
        raise DataError(
            f"inputs {name}: shape must be [images, {channels}, height, width], at most {MAX_PIXELS:,} pixels"
        )
    pixels = read_pixels(tensor, content if size is not None else None, shape)
    return [(f"image {place}", image) for place, image in enumerate(pixels, 1)]


def read_shape(tensor: Mapping[str, Any]) -> list[int]:
    """Return the shape of a tensor. Raises DataError."""
    shape = tensor.get("shape")
    sides = shape if isinstance(shape, list) else []
    if not 0 < len(sides) <= MAX_SIDES or not all(type(side) is int and 0 < side <= MAX_PIXELS for side in sides):
        raise DataError(f"inputs {tensor['name']}: shape must be a list of one to four whole numbers above 0")
    return sides


def read_pixels(tensor: Mapping[str, Any], content: bytes | None, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the pixels of a tensor: its bytes, or a flat or nested list of whole numbers of a byte."""
    if content is not None:
        if len(content) != math.prod(shape):
            raise DataError(f"inputs {PIXELS}: {math.prod(shape):,} bytes are needed for shape {list(shape)}")
        return np.frombuffer(content, np.uint8).reshape(shape)
    values = list(flatten(tensor.get("data"), math.prod(shape)))
    if len(values) != math.prod(shape) or not all(type(each) is int and 0 <= each <= 255 for each in values):
        raise DataError(f"inputs {PIXELS}: data must be {math.prod(shape):,} whole numbers from 0 to 255")
    return np.array(values, np.uint8).reshape(shape)


def flatten(data: Any, count: int) -> Iterator[Any]:
    """Yield the values of a flat or nested list in order, one more than `count` at the most."""
    waiting = [iter([data])]
    remaining = count + 1
    while waiting and remaining:
        for each in waiting[-1]:
            if isinstance(each, list):
                waiting.append(iter(each))
                break
            yield each
            remaining -= 1
            if not remaining:
                return
        else:
            waiting.pop()


def too_many(count: int, limit: int) -> DataError:
    """Return the refusal of too many images."""
    return DataError(f"{count} images: from 1 to {limit} are computed; send several requests")


def read_texts(data: Any, count: int) -> list[bytes]:
    """Return the files of a list of texts in base64, if they are as many as they should be."""
    if isinstance(data, list) and len(data) != count:
        return []
    if not isinstance(data, list) or not all(isinstance(each, str) for each in data):
        raise DataError(f"inputs {IMAGES}: data must be a list of files in base64")
    return [decode_base64(text, f"image {place}") for place, text in enumerate(data, 1)]


def split_texts(content: bytes, count: int) -> list[bytes]:
    """Return the parts of bytes before each of which four say how long it is, one more than `count` at the most."""
    parts: list[bytes] = []
    place = 0
    while place < len(content) and len(parts) <= count:
        length = int.from_bytes(content[place : place + 4], "little")
        part = content[place + 4 : place + 4 + length]
        if place + 4 > len(content) or len(part) != length:
            raise DataError(f"inputs {IMAGES}: the bytes end within an image")
        parts.append(part)
        place += 4 + length
    return parts


def write_answer(model: ServedModel, request: InferRequest, probabilities: NDArray[Any]) -> tuple[bytes, int | None]:
    """Return the body of an answer, and where its JSON ends if bytes follow.

    Args:
        model: What has computed it.
        request: The request.
        probabilities: (N, K), float32.
    """
    labels = [model.classes[label].encode(errors="replace") for label in probabilities.argmax(1)]
    values = probabilities.reshape(-1)
    contents = {
        "probabilities": ("FP32", list(probabilities.shape), values.tolist(), values.tobytes()),
        "class": (
            "BYTES", [len(labels)], [label.decode() for label in labels],
            b"".join(len(label).to_bytes(4, "little") + label for label in labels),
        ),
    }  # fmt: skip
    outputs, binary = [], b""
    for name, as_bytes in request.outputs.items():
        datatype, shape, data, content = contents[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if as_bytes:
            output["parameters"] = {"binary_data_size": len(content)}
            binary += content
        else:
            output["data"] = data
        outputs.append(output)
    answer = {"model_name": model.name, "model_version": model.version, "outputs": outputs}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer).encode()
    return head + binary, len(head) if any(request.outputs.values()) else None
