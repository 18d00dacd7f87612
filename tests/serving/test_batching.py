"""Micro-batching, in this process: who waits, who does not, what is together, what is bounded."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenext.foundation.errors import DataError
from lenext.runs.predict import Scores
from lenext.serving import batching
from lenext.serving.batching import Batcher
from lenext.serving.computing import SMALL_PIXELS
from lenext.serving.jobs import FullError
from lenext.serving.models import ServedModel
from lenext.serving.options import PredictOptions
from lenext.serving.settings import ServiceSettings, Source
from tests.serving.conftest import make_image


class Counting:
    """Metrics that are a list."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []

    def count_batch(self, model: str, images: int, seconds: float) -> None:
        self.batches.append((model, images))


@pytest.fixture(scope="module")
def model(models: Path) -> ServedModel:
    return ServedModel(Source("digits", str(models / "digits.safetensors")), ServiceSettings(engine="torch"))


def with_batcher(work: Callable[[Batcher, Counting], Awaitable[None]], max_waiting: int = 64) -> Counting:
    """Run something with a batcher, and return what it counted."""
    metrics = Counting()

    async def run() -> None:
        batcher = Batcher(2, max_waiting, metrics)  # type: ignore[arg-type]
        try:
            await work(batcher, metrics)
            assert (batcher.images, batcher.bytes) == (0, 0)
        finally:
            batcher.close()

    asyncio.run(run())
    return metrics


class Slow:
    """A model's predictor that waits until it is let go."""

    def __init__(self, model: ServedModel) -> None:
        self.real, self.go = model.predictor, threading.Event()
        self.classes, self.prepare, self.engine = self.real.classes, self.real.prepare, self.real.engine

    def __call__(self, pixels: Any) -> Scores:
        assert self.go.wait(60)
        return self.real(pixels)


@pytest.fixture
def slow(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow(model)
    monkeypatch.setattr(model, "predictor", slow)
    return slow


def test_a_lone_request_does_not_wait_and_those_behind_a_busy_engine_go_together(
    model: ServedModel, slow: Slow
) -> None:
    async def work(batcher: Batcher, metrics: Counting) -> None:
        first = batcher.submit(model, [("a", make_image())])
        assert batcher.is_busy, "it was begun at once"
        others = [batcher.submit(model, [("b", make_image(seed=seed))]) for seed in range(20)]
        slow.go.set()
        await asyncio.gather(first.done, *(each.done for each in others))
        assert [each.batch for each in others] == [20] * 20

    assert with_batcher(work).batches == [("digits", 1), ("digits", 20)]


def test_batches_are_no_larger_than_the_model_allows(
    model: ServedModel, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "max_batch", 8)

    async def work(batcher: Batcher, metrics: Counting) -> None:
        jobs = [batcher.submit(model, [("a", make_image())] * 10) for _ in range(3)]
        slow.go.set()
        await asyncio.gather(*(each.done for each in jobs))
        assert all(len(each.answers) == 10 and all(each.answers) for each in jobs)

    assert max(images for _, images in with_batcher(work).batches) == 8


def test_a_full_queue_and_too_many_bytes_are_refused(
    model: ServedModel, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(batcher: Batcher, metrics: Counting) -> None:
        jobs = [batcher.submit(model, [("a", make_image())]) for _ in range(4)]
        with pytest.raises(FullError, match="4 images are waiting") as caught:
            batcher.submit(model, [("a", make_image())])
        assert (caught.value.reason, caught.value.retry_seconds >= 1) == ("queue", True)
        slow.go.set()
        await asyncio.gather(*(each.done for each in jobs))
        monkeypatch.setattr(batching, "MAX_HELD_BYTES", 100)
        with pytest.raises(FullError, match="too many bytes"):
            batcher.submit(model, [("a", make_image())])

    with_batcher(work, max_waiting=4)


def test_an_image_that_fails_does_not_take_others_with_it(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    real = model.predictor
    poison = make_image(seed=7)
    stored = model.decode(model.open_image("p", poison, PredictOptions()), PredictOptions()).pixels

    class Poisoned(Slow):
        def __call__(self, pixels: Any) -> Scores:
            if any(np.array_equal(each.numpy(), stored) for each in pixels):
                raise DataError("poisoned")
            return real(pixels)

    monkeypatch.setattr(model, "predictor", Poisoned(model))

    async def work(batcher: Batcher, metrics: Counting) -> None:
        jobs = [batcher.submit(model, [("a", make_image(seed=seed))]) for seed in range(10)]
        found = await asyncio.gather(*(each.done for each in jobs), return_exceptions=True)
        assert [str(each) for each in found if each] == ["poisoned"]
        assert str(found[7]) == "poisoned"
        broken = batcher.submit(model, [("a", make_image()), ("b", b"text"), ("c", make_image())])
        with pytest.raises(DataError, match="b: not an image"):
            await broken.done

    with_batcher(work)


def test_dropped_requests_are_not_computed(model: ServedModel, slow: Slow) -> None:
    async def work(batcher: Batcher, metrics: Counting) -> None:
        first = batcher.submit(model, [("a", make_image())])
        dropped = [batcher.submit(model, [("a", make_image(900, 900))] * 3) for _ in range(5)]
        for each in dropped:
            batcher.drop(each)
        last = batcher.submit(model, [("a", make_image())])
        await asyncio.sleep(0)
        assert batcher.images == 2
        slow.go.set()
        await asyncio.gather(first.done, last.done)

    assert with_batcher(work).batches == [("digits", 1), ("digits", 1)]


def test_large_images_are_decoded_elsewhere_and_hold_up_nobody(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, go, threads = model.decode, threading.Event(), set()

    def wait_and_decode(opened: Any, options: PredictOptions) -> Any:
        threads.add(threading.current_thread().name.split("_")[0])
        if opened.pixel_count > SMALL_PIXELS:
            assert go.wait(60)
        return decode(opened, options)

    monkeypatch.setattr(model, "decode", wait_and_decode)

    async def work(batcher: Batcher, metrics: Counting) -> None:
        large = [batcher.submit(model, [("large", make_image(*size))]) for size in ((300, 300), (2200, 2200))]
        small = batcher.submit(model, [("small", make_image())])
        await small.done
        assert not any(each.done.done() for each in large)
        go.set()
        await asyncio.gather(*(each.done for each in large))

    with_batcher(work)
    assert threads == {"engine", "decoder", "large-decoder"}


def test_models_take_turns(model: ServedModel, models: Path, slow: Slow) -> None:
    other = ServedModel(Source("animals", str(models / "animals.safetensors")), ServiceSettings(engine="torch"))

    async def work(batcher: Batcher, metrics: Counting) -> None:
        first = batcher.submit(model, [("a", make_image())])
        jobs = [batcher.submit(each, [("a", make_image())] * 30) for each in (model, other)]
        slow.go.set()
        await asyncio.gather(first.done, *(each.done for each in jobs))

    assert [name for name, _ in with_batcher(work).batches] == ["digits", "digits", "animals"]
