"""A request in the queue: its images, and what becomes of them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from lenext.data.images import DecodedImage, OpenedImage
from lenext.foundation.errors import LenextError
from lenext.serving.models import ServedModel
from lenext.serving.options import PredictOptions


class FullError(LenextError):
    """A queue that has no room; the client may come again.

    Attributes:
        reason: What is full, as the metrics count it.
        retry_seconds: When there will be room, as far as can be said.
    """

    def __init__(self, message: str, reason: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.reason, self.retry_seconds = reason, retry_seconds


@dataclass(eq=False)
class Part:
    """An image of a request.

    Attributes:
        job: The request.
        place: The image's place in it.
        name: What the client calls it.
        content: The bytes of its file; empty once it is decoded.
        opened: The image, open and not decoded, when another thread is to decode it.
        decoded: Its pixels.
    """

    job: "Job"
    place: int
    name: str
    content: bytes = b""
    opened: OpenedImage | None = None
    decoded: DecodedImage | None = None


@dataclass(eq=False)
class Job:
    """A request: its images, and what becomes of them.

    Attributes:
        model: What computes it.
        options: How.
        size: Bytes that it holds.
        answers: For each image the answer, as JSON has it; probabilities (K,) where `raw`.
        done: Ends when all are there, or with an error.
        raw: Whether the probabilities of all classes are the answer.
        batch: The largest batch that it was part of.
    """

    model: ServedModel
    options: PredictOptions
    size: int
    answers: list[Any]
    done: "asyncio.Future[None]"
    raw: bool = False
    missing: int = 0
    batch: int = 0
    parts: list[Part] = field(default_factory=list)
