"""The work of a worker's threads on the images of requests: decoding, batches, answers, explanations."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from lenext.data.images import Size
from lenext.runs.predict import Scores, make_predictions
from lenext.serving.jobs import Part
from lenext.serving.models import ServedModel

SMALL_PIXELS, SMALL_BYTES = 128 * 128, 1 << 16  # of a file that is decoded in the thread of the engine


def decode_small(part: Part) -> bool:
    """Open an image, and decode it where it is small; return whether it was. Raises DataError."""
    job = part.job
    opened = job.model.open_image(part.name, part.content, job.options)
    if opened.file_width * opened.file_height > SMALL_PIXELS or len(part.content) > SMALL_BYTES:
        part.opened = opened
        return False
    part.decoded = job.model.decode(opened, job.options)
    return True


def answer_parts(
    model: ServedModel, parts: Sequence[Part], errors: list[tuple[Part, Exception]]
) -> list[tuple[Part, Any]]:
    """Compute decoded images; where a batch fails each is tried alone, so that one does not harm the others."""
    pixels = torch.from_numpy(np.stack([part.decoded.pixels for part in parts if part.decoded]))
    try:
        return list(zip(parts, format_answers(model, parts, pixels, model.predictor(pixels)), strict=True))
    except Exception as error:
        if len(parts) == 1:
            errors.append((parts[0], error))
            return []
        return [each for part in parts for each in answer_parts(model, [part], errors)]


def format_answers(model: ServedModel, parts: Sequence[Part], pixels: torch.Tensor, scores: Scores) -> list[Any]:
    """Return the answers: predictions as `lenext predict --format json` prints them, or probabilities."""
    answers: list[Any] = []
    start = 0
    while start < len(parts):  # those that are asked alike, one after the other
        options, is_raw = parts[start].job.options, parts[start].job.raw
        end = start + 1
        while end < len(parts) and (parts[end].job.options, parts[end].job.raw) == (options, is_raw):
            end += 1
        rows = slice(start, end)
        if is_raw:
            answers += list(scores.probabilities[rows].numpy())
        else:
            predictions = make_predictions(
                [part.name for part in parts[rows]], pixels[rows], [part_size(part) for part in parts[rows]],
                Scores(scores.probabilities[rows], scores.unlike[rows]), options.preprocessing(model.prepare),
                model.classes, options.top, options.adjustment(model.prepare), model.predictor.engine,
            )  # fmt: skip
            answers += [dict(vars(prediction)) for prediction in predictions]
        start = end
    return answers


def part_size(part: Part) -> Size:
    """Return the (height, width) that an image has in its file."""
    assert part.decoded is not None
    return part.decoded.file_size


def explain_part(part: Part, name: str) -> dict[str, str]:
    """Return Grad-CAM of an image for a class, as an answer has it."""
    model = part.job.model
    assert part.decoded is not None
    stored = torch.from_numpy(np.ascontiguousarray(part.decoded.pixels))
    values = model.explain(stored, model.classes.index(name))
    file = io.BytesIO()
    Image.fromarray((255 * values).round().byte().numpy()).save(file, "PNG")
    return {"method": "gradcam", "class": name, "png": base64.b64encode(file.getvalue()).decode()}
