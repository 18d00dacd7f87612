"""The metrics of a service for Prometheus: counted by each worker in a shared folder, and added up by any of them."""

import os
from pathlib import Path
from typing import Any

from lenext.foundation.errors import RunError

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus-client when it is imported
FILE_BYTES = 1 << 20  # as prometheus-client makes its files
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of a worker; those of workers that have ended count on."""

    def __init__(self, folder: str) -> None:
        """Count into a folder.

        Args:
            folder: That of the service; the first import of prometheus-client in this process must come after this.
        """
        os.environ[MULTIPROCESS] = folder
        reserve_files(Path(folder))
        from prometheus_client import Counter, Gauge, Histogram

        self.requests = Counter("lenext_requests", "Requests that were answered.", ["route", "code"])
        self.seconds = Histogram(
            "lenext_request_seconds", "Time from a request's head to its answer.", ["route"], buckets=SECONDS
        )
        self.refused = Counter("lenext_refused", "Requests answered 503, by what was full.", ["reason"])
        self.images = Counter("lenext_images", "Images that were predicted.", ["model"])
        self.batches = Histogram(
            "lenext_batch_images", "Images that were computed together.", ["model"], buckets=BATCHES
        )
        self.batch_seconds = Counter("lenext_batch_seconds", "Time of decoding and computing.", ["model"])
        self.waiting = Gauge("lenext_waiting_images", "Images that wait or are at work.", multiprocess_mode="livesum")
        self.workers = Gauge("lenext_workers", "Workers that are ready.", multiprocess_mode="livesum")
        self.children: dict[tuple[str, ...], Any] = {}

    def count_request(self, route: str, code: int, seconds: float) -> None:
        """Count an answer, before it is sent: who has it finds it counted."""
        key = ("request", route, str(code))
        if key not in self.children:
            self.children[key] = (self.requests.labels(route, str(code)), self.seconds.labels(route))
        counter, histogram = self.children[key]
        counter.inc()
        histogram.observe(seconds)

    def count_batch(self, model: str, images: int, seconds: float) -> None:
        """Count a batch."""
        key = ("batch", model)
        if key not in self.children:
            self.children[key] = tuple(each.labels(model) for each in (self.images, self.batches, self.batch_seconds))
        counter, histogram, total = self.children[key]
        counter.inc(images)
        histogram.observe(images)
        total.inc(seconds)

    def count_refusal(self, reason: str) -> None:
        """Count a request for which there was no room."""
        self.refused.labels(reason).inc()

    @staticmethod
    def expose() -> tuple[bytes, str]:
        """Return the sums over all workers, and their media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def reserve_files(folder: Path) -> None:
    """Make the files that this process counts in, with their space: on a full disk it would die as it counts.

    Raises:
        RunError: There is no space.
    """
    for kind in ("counter", "histogram", "gauge_livesum"):
        path = folder / f"{kind}_{os.getpid()}.db"
        try:
            with path.open("ab") as file:
                if hasattr(os, "posix_fallocate") and not file.tell():
                    os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise RunError(f"{folder}: no space to count in ({error.strerror}); free some, or set TMPDIR") from error


def forget_worker(folder: Path, pid: int) -> None:
    """Forget the gauges of a worker that has ended; its counters stay."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)
