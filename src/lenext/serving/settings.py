"""The settings of a service, which its supervisor hands to each worker, and the limits that hold for all."""

from dataclasses import dataclass, field
from typing import Literal

from lenext.foundation.settings import Device

MAX_BODY_BYTES = 32 << 20  # of one request
MAX_HELD_BYTES = 256 << 20  # of all requests of a worker that are not answered yet
MAX_IMAGES = 64  # of one request
HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0  # in which the head and the body of a request must have come
MAX_DEADLINE_SECONDS = 600.0

DRAIN_SECONDS = 3.0  # between the end of readiness and that of listening, for probes to notice
EXIT_SECONDS = 4.0  # for requests that are under way then
HANGING_SECONDS = 60.0  # of silence, after which a worker is replaced

ServiceEngine = Literal["auto", "torch", "onnxruntime", "openvino"]


@dataclass(frozen=True)
class Source:
    """The source of a model.

    Attributes:
        name: Of the model, in addresses.
        path: A run's folder, a file of weights, an exported file, or with `pretrained` the name of a network.
        weights: Which of a run's weights; None for the best.
        network: FILE.py:Class of a user-defined network.
        pretrained: Whether published weights are meant.
        data_dir: Where published weights are kept.
        offline: Whether the network must not be used.
        asked: The path that the user gave, where `path` is that of a copy.
    """

    name: str
    path: str
    weights: Literal["best", "last"] | None = None
    network: str = ""
    pretrained: bool = False
    data_dir: str | None = None
    offline: bool = False
    asked: str = ""


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of a service.

    Attributes:
        host: The address that it listens at.
        port: Its port; 0 for a free one.
        workers: Number of processes.
        threads: Threads that each computes with.
        engine: What computes.
        device: Where.
        queue: Images of a worker that may wait.
        api_key: What a request must carry; empty for none.
        origins: Origins of other sites whose pages may ask.
        request_log: File of the request log; `-` for standard output; empty for none.
        metrics_dir: The folder in which the workers count together.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int = 1
    engine: ServiceEngine = "auto"
    device: Device = "auto"
    queue: int = 256
    api_key: str = field(default="", repr=False)
    origins: tuple[str, ...] = ()
    request_log: str = ""
    metrics_dir: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "localhost", "::1")
