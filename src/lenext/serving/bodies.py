"""The images in the body of a request: its bytes alone, several parts of a form, or a list of texts in base64."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from python_multipart import create_form_parser
from python_multipart.exceptions import FormParserError

from lenext.foundation.errors import DataError
from lenext.serving.settings import MAX_BODY_BYTES

MAX_NAME_CHARACTERS = 200
PLAIN_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Types that clients give an image's bytes: none, unknown, and that of curl's --data-binary."""


class WrongTypeError(DataError):
    """A body of a type that is not read."""


def read_images(headers: Mapping[str, str], body: bytes, max_images: int) -> list[tuple[str, bytes]]:
    """Return the images in a body: what each is called, and the bytes of its file.

    Args:
        headers: Of the request.
        body: Its body.
        max_images: How many there may be.

    Raises:
        DataError: The body has no image, too many, or is not what its type says.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind in PLAIN_TYPES:
        images = [("image", body)] if body else []
    elif kind == "application/json":
        images = read_json_list(body, max_images)
    elif kind == "multipart/form-data":
        images = read_form(headers, body, max_images)
    else:
        raise WrongTypeError(
            f"content-type: {kind[:MAX_NAME_CHARACTERS]}: send an image's bytes, a form with files, or a list in JSON"
        )
    if not images:
        raise DataError("the body has no image")
    if len(images) > max_images:
        raise too_many(len(images), max_images)
    return images


def too_many(count: int, limit: int) -> DataError:
    """Return the refusal of too many images."""
    return DataError(f"{count} images: at most {limit} are read; send several requests")


def read_json_list(body: bytes, max_images: int) -> list[tuple[str, bytes]]:
    """Return the images of a list of texts in base64, which has no commas: so the texts are counted beforehand."""
    if (count := body.count(b",") + 1) > max_images:
        raise too_many(count, max_images)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is no JSON ({error})") from error
    if not isinstance(content, list) or not all(isinstance(each, str) for each in content):
        raise DataError("the body must be a list of images in base64")
    return [(f"image {place}", decode_base64(text, f"image {place}")) for place, text in enumerate(content, 1)]


def decode_base64(text: str, name: str) -> bytes:
    """Return the bytes of a text in base64. Raises DataError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{name}: not base64 ({error})") from error


def read_form(headers: Mapping[str, str], body: bytes, max_images: int) -> list[tuple[str, bytes]]:
    """Return the files of a form, named as the client names them."""
    images: list[tuple[str, bytes]] = []

    def add_file(file: Any) -> None:
        if len(images) == max_images:
            raise DataError(f"more than {max_images} images; send several requests")
        name = (file.file_name or b"").decode(errors="replace")[:MAX_NAME_CHARACTERS]
        images.append((name or f"image {len(images) + 1}", file.file_object.getvalue()))

    def refuse_field(field: Any) -> None:
        name = (field.field_name or b"").decode(errors="replace")[:MAX_NAME_CHARACTERS]
        raise DataError(f"the form has a field {name!r}, which is no file; options are in the address: ?top=3")

    try:
        parser = create_form_parser(
            {"Content-Type": headers["content-type"].encode("latin-1")}, refuse_field, add_file,
            config={"MAX_MEMORY_FILE_SIZE": MAX_BODY_BYTES, "UPLOAD_ERROR_ON_BAD_CTE": True},
        )  # fmt: skip
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError, LookupError) as error:
        raise DataError(f"the form cannot be read ({error})") from error
    return images
