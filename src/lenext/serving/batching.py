"""Micro-batching: requests wait in a bounded queue while the engine is busy, and are computed together after that.

A lone request never waits. The engine has one thread, in which small images are decoded too: handing one over costs
as much as decoding it. Large ones are decoded by other threads, so that nobody waits for them, and the largest one at
a time, so that the memory for their pixels is bounded.
"""

import asyncio
import base64
import io
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from lenext.data.images import DecodedImage, OpenedImage, Size
from lenext.foundation.errors import LenextError
from lenext.runs.predict import Scores, make_predictions
from lenext.serving.metrics import Metrics
from lenext.serving.models import ServedModel
from lenext.serving.options import DEFAULTS, PredictOptions
from lenext.serving.settings import MAX_HELD_BYTES

SMALL_PIXELS = 128 * 128  # decoded in the thread of the engine
LARGE_PIXELS = 4_000_000  # decoded one at a time
RECENT_WEIGHT = 0.1  # of the newest batch in the mean time of an image


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
        is_dropped: Whether nobody waits for it any more.
        batch: The largest batch that it was part of.
        began: When its first image was computed.
    """

    model: ServedModel
    options: PredictOptions
    size: int
    answers: list[Any]
    done: "asyncio.Future[None]"
    raw: bool = False
    left: int = 0
    is_dropped: bool = False
    batch: int = 0
    began: float = 0.0
    parts: list[Part] = field(default_factory=list)


class Batcher:
    """The queues of a worker's models, and the threads that decode and compute."""

    def __init__(self, threads: int, max_waiting: int, metrics: Metrics) -> None:
        """Start with empty queues.

        Args:
            threads: That decode large images.
            max_waiting: Images that may be held, waiting or at work.
            metrics: Where batches are counted.
        """
        self.loop = asyncio.get_running_loop()
        self.max_waiting, self.metrics = max_waiting, metrics
        self.queues: dict[ServedModel, deque[Part]] = {}
        self.images = self.bytes = 0  # held: from their arrival to their answer
        self.is_busy = False
        self.busy_since: float | None = None
        self.image_seconds = 0.0  # mean time of an image in recent batches
        self.engine = ThreadPoolExecutor(1, "engine")
        self.decoders = ThreadPoolExecutor(threads, "decoder")
        self.large_decoder = ThreadPoolExecutor(1, "large-decoder")
        self.explainer = ThreadPoolExecutor(1, "explainer")
        self.lock = threading.Lock()  # of the largest image

    def submit(
        self,
        model: ServedModel,
        images: Sequence[tuple[str, bytes | DecodedImage]],
        options: PredictOptions = DEFAULTS,
        *,
        raw: bool = False,
    ) -> Job:
        """Put the images of a request into the queue.

        Args:
            model: What computes them.
            images: What each is called, and its file or its pixels as stored.
            options: How they are predicted.
            raw: Whether the probabilities of all classes are asked for.

        Returns:
            The request; `done` ends when it is answered, and then `answers` has an answer an image.

        Raises:
            FullError: There is no room.
        """
        size = sum(len(image) if isinstance(image, bytes) else image.pixels.nbytes for _, image in images)
        self.check_room(len(images), size)
        job = Job(model, options, size, [None] * len(images), self.loop.create_future(), raw, len(images))
        for place, (name, image) in enumerate(images):
            is_file = isinstance(image, bytes)
            job.parts.append(
                Part(job, place, name, image if is_file else b"", decoded=None if is_file else image)  # type: ignore[arg-type]
            )
        self.images += len(images)
        self.bytes += size
        job.done.add_done_callback(lambda _: self.release(job))
        self.queues.setdefault(model, deque()).extend(job.parts)
        self.start()
        return job

    def check_room(self, images: int, size: int) -> None:
        """Raise FullError where so many images, or bytes, have no room."""
        if self.images + images > self.max_waiting:
            raise FullError(f"{self.images} images are waiting already; come again", "queue", self.retry_seconds())
        if self.bytes + size > MAX_HELD_BYTES:
            raise FullError("too many bytes are waiting already; come again", "bytes", self.retry_seconds())

    def retry_seconds(self) -> int:
        """Return the seconds until the queue will be empty, at least 1."""
        return max(1, math.ceil(self.images * self.image_seconds))

    def release(self, job: Job) -> None:
        """Give the room of an answered request free."""
        self.images -= len(job.answers)
        self.bytes -= job.size
        for part in job.parts:  # some may be in a queue still
            part.content = b""
        job.parts.clear()

    def drop(self, job: Job) -> None:
        """Forget a request that nobody waits for any more."""
        job.is_dropped = True
        if not job.done.done():
            job.done.cancel()

    def start(self) -> None:
        """Let the engine compute the next batch, unless it is busy or nothing waits."""
        if self.is_busy:
            return
        parts = self.take()
        if parts:
            self.is_busy, self.busy_since = True, time.monotonic()
            self.engine.submit(self.work, parts)

    def take(self) -> list[Part]:
        """Return the images of the next batch: of one model, each in turn."""
        while self.queues:
            model, queue = next(iter(self.queues.items()))
            del self.queues[model]  # its turn is over: what is left goes to the end
            parts: list[Part] = []
            while queue and len(parts) < model.max_batch:
                part = queue.popleft()
                if not part.job.done.done():
                    parts.append(part)
            if queue:
                self.queues[model] = queue
            if parts:
                return parts
        return []

    def work(self, parts: Sequence[Part]) -> None:
        """Decode and compute a batch, in the thread of the engine."""
        began = time.perf_counter()
        model, later, ready = parts[0].job.model, [], []
        errors: list[tuple[Part, Exception]] = []
        for part in parts:
            part.job.began = part.job.began or began
            try:
                if part.decoded is None and not self.decode_small(part):
                    later.append(part)
                    continue
                ready.append(part)
            except Exception as error:
                errors.append((part, error))
        answers = self.answer(model, ready, errors) if ready else []
        seconds = time.perf_counter() - began
        self.loop.call_soon_threadsafe(self.finish, model, answers, errors, later, len(ready), seconds)

    @staticmethod
    def decode_small(part: Part) -> bool:
        """Open an image, and decode it where it is small; return whether it was. Raises DataError."""
        job = part.job
        opened = job.model.open_image(part.name, part.content, job.options)
        if opened.pixel_count > SMALL_PIXELS:
            part.opened = opened
            return False
        part.decoded = job.model.decode(opened, job.options)
        return True

    def answer(
        self, model: ServedModel, parts: Sequence[Part], errors: list[tuple[Part, Exception]]
    ) -> list[tuple[Part, Any]]:
        """Compute decoded images; where a batch fails each is tried alone, so that one does not harm the others."""
        pixels = torch.from_numpy(np.stack([part.decoded.pixels for part in parts if part.decoded]))
        try:
            return list(zip(parts, self.format(model, parts, pixels, model.predictor(pixels)), strict=True))
        except Exception as error:
            if len(parts) == 1:
                errors.append((parts[0], error))
                return []
            return [each for part in parts for each in self.answer(model, [part], errors)]

    @staticmethod
    def format(model: ServedModel, parts: Sequence[Part], pixels: torch.Tensor, scores: Scores) -> list[Any]:
        """Return the answers: predictions as `lenext predict --format json` prints them, or probabilities."""
        answers: list[Any] = []
        start = 0
        while start < len(parts):  # those that are asked alike, one after the other
            options, is_raw = parts[start].job.options, parts[start].job.raw
            end = start + 1
            while end < len(parts) and (parts[end].job.options, parts[end].job.raw) == (options, is_raw):
                end += 1
            here = slice(start, end)
            if is_raw:
                answers += list(scores.probabilities[here].numpy())
            else:
                predictions = make_predictions(
                    [part.name for part in parts[here]], pixels[here], [part_size(part) for part in parts[here]],
                    Scores(scores.probabilities[here], scores.unlike[here]), options.preprocessing(model.prepare),
                    model.classes, options.top, options.adjustment(model.prepare), model.predictor.engine,
                )  # fmt: skip
                answers += [dict(vars(prediction)) for prediction in predictions]
            start = end
        return answers

    def finish(
        self,
        model: ServedModel,
        answers: Sequence[tuple[Part, Any]],
        errors: Sequence[tuple[Part, Exception]],
        later: Sequence[Part],
        count: int,
        seconds: float,
    ) -> None:
        """Hand out what a batch gave, and start the next one."""
        self.is_busy, self.busy_since = False, None
        if count:
            self.metrics.count_batch(model.name, count, seconds)
            self.image_seconds += RECENT_WEIGHT * (seconds / count - self.image_seconds)
        for part in later:
            self.decode_later(part)
        for part, error in errors:
            self.fail(part.job, error)
        for part, answer in answers:
            part.job.batch = max(part.job.batch, count)
            if part.job.options.explain and not part.job.done.done():
                self.explainer.submit(self.explain, part, answer)
            else:
                self.deliver(part, answer)
        self.start()

    def decode_later(self, part: Part) -> None:
        """Let another thread decode an image."""
        if part.opened is None or part.job.done.done():
            return
        is_large = part.opened.pixel_count > LARGE_PIXELS
        (self.large_decoder if is_large else self.decoders).submit(self.decode, part)

    def decode(self, part: Part) -> None:
        """Decode an image, in a thread of its own; it waits then at the front of the queue."""
        error: Exception | None = None
        try:
            if part.opened is not None and not part.job.is_dropped:
                part.decoded = part.job.model.decode(part.opened, part.job.options)
        except Exception as raised:
            error = raised
        part.opened, part.content = None, b""
        self.loop.call_soon_threadsafe(self.come_back, part, error)

    def come_back(self, part: Part, error: Exception | None) -> None:
        """Put a decoded image at the front of the queue."""
        if error is not None:
            self.fail(part.job, error)
        elif part.decoded is not None and not part.job.done.done():
            self.queues.setdefault(part.job.model, deque()).appendleft(part)
            self.start()

    def explain(self, part: Part, answer: dict[str, Any]) -> None:
        """Add Grad-CAM of the most probable class to an answer, in a thread of its own."""
        model = part.job.model
        try:
            assert part.decoded is not None
            label = model.classes.index(answer["classes"][0])
            values = model.explain(torch.from_numpy(np.ascontiguousarray(part.decoded.pixels)), label)
            file = io.BytesIO()
            Image.fromarray((255 * values).round().byte().numpy()).save(file, "PNG")
            answer["explanation"] = {
                "method": "gradcam", "class": answer["classes"][0], "png": base64.b64encode(file.getvalue()).decode()
            }  # fmt: skip
        except Exception as raised:
            self.loop.call_soon_threadsafe(self.fail, part.job, raised)
        else:
            self.loop.call_soon_threadsafe(self.deliver, part, answer)

    def deliver(self, part: Part, answer: Any) -> None:
        """Keep the answer for an image; with the last one its request is done."""
        job = part.job
        if job.done.done():
            return
        job.answers[part.place] = answer
        job.left -= 1
        if not job.left:
            job.done.set_result(None)

    @staticmethod
    def fail(job: Job, error: Exception) -> None:
        """End a request with an error; one that is lenext's own is printed in full."""
        if not isinstance(error, LenextError | MemoryError):
            traceback.print_exception(error)
        if not job.done.done():
            job.done.set_exception(error)
            job.is_dropped = True

    def close(self) -> None:
        """End the threads; what they compute is lost."""
        for pool in (self.engine, self.decoders, self.large_decoder, self.explainer):
            pool.shutdown(wait=False, cancel_futures=True)


def part_size(part: Part) -> Size:
    """Return the (height, width) that an image has in its file."""
    assert part.decoded is not None
    return part.decoded.file_size
