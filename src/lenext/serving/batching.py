"""Micro-batching: requests wait in a bounded queue while the engine is busy, and are computed together after that.

A lone request never waits. The engine has one thread, in which small images are decoded too: handing one over costs
as much as decoding it. Large ones are decoded by other threads, so that nobody waits for them, and the largest one at
a time, so that the memory for their pixels is bounded.
"""

import asyncio
import math
import time
import traceback
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lenext.data.images import DecodedImage
from lenext.foundation.errors import LenextError
from lenext.serving.computing import answer_parts, decode_small, explain_part
from lenext.serving.jobs import FullError, Job, Part
from lenext.serving.metrics import Metrics
from lenext.serving.models import ServedModel
from lenext.serving.options import DEFAULTS, PredictOptions
from lenext.serving.settings import MAX_HELD_BYTES

LARGE_PIXELS = 4_000_000  # decoded one at a time
RECENT_WEIGHT = 0.1  # of the newest batch in the mean time of an image


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

    async def warm(self, model: ServedModel) -> None:
        """Let the engine's thread compute once: what a thread sets up would else make the first request wait."""
        await self.loop.run_in_executor(self.engine, model.verify)

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
        """Raise FullError where these images or bytes have no room."""
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
        for part in job.parts:  # some may be in a queue still, here or of the threads that decode
            part.content, part.opened = b"", None
        job.parts.clear()

    def drop(self, job: Job) -> None:
        """Forget a request that nobody waits for any more."""
        job.done.cancel()  # which does nothing to one that is done

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
            try:
                if part.decoded is None and not decode_small(part):
                    later.append(part)
                    continue
                ready.append(part)
            except Exception as error:
                errors.append((part, error))
        answers = answer_parts(model, ready, errors) if ready else []
        seconds = time.perf_counter() - began
        self.loop.call_soon_threadsafe(self.finish, model, answers, errors, later, len(ready), seconds)

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
        """Decode an image, in another thread; it waits then at the front of the queue."""
        error, opened = None, part.opened
        try:
            if opened is not None:
                part.decoded = part.job.model.decode(opened, part.job.options)
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
        """Add Grad-CAM of the most probable class to an answer, in another thread."""
        if part.job.done.done():
            return
        try:
            answer["explanation"] = explain_part(part, answer["classes"][0])
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
        job.missing -= 1
        if not job.missing:
            job.done.set_result(None)

    @staticmethod
    def fail(job: Job, error: Exception) -> None:
        """End a request with an error; one that is lenext's own is printed in full."""
        if not isinstance(error, LenextError | MemoryError):
            traceback.print_exception(error)
        if not job.done.done():
            job.done.set_exception(error)

    def close(self) -> None:
        """End the threads; what they compute is lost."""
        for pool in (self.engine, self.decoders, self.large_decoder, self.explainer):
            pool.shutdown(wait=False, cancel_futures=True)
