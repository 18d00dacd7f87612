"""The studio: its folder of runs, and what stays open between requests."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from starlette.requests import Request

from lenext.studio import data_views
from lenext.studio.commands import Commands
from lenext.studio.drawing import OpenNetworks
from lenext.studio.feed import Feed
from lenext.studio.review import Reviews
from lenext.studio.run_table import RunTable

SLOW_THREADS = 4  # that read data and predict; all other requests are answered meanwhile


@dataclass
class Studio:
    """The folder of runs with its commands, data and networks, which all routes share.

    Attributes:
        runs_dir: The folder of the runs.
        data_dir: Where published data are; None for the default.
        offline: Whether the network must not be used.
    """

    runs_dir: Path
    data_dir: Path | None = None
    offline: bool = False
    commands: Commands = field(default_factory=Commands)
    networks: OpenNetworks = field(default_factory=OpenNetworks)

    def __post_init__(self) -> None:
        self.table = RunTable(self.runs_dir)
        self.data = data_views.OpenData(self.data_dir, self.offline)
        self.reviews = Reviews(self.runs_dir)
        self.feed = Feed(self.table, self.commands)
        self.slow = CapacityLimiter(SLOW_THREADS)
        self.starting = threading.Lock()
        self.stopping: set[int] = set()  # processes of other programs that were asked to stop

    @property
    def preparing(self) -> set[str]:
        """The names of runs that commands of this studio train, or are about to."""
        return {each.name for each in self.commands.running("train")}

    @property
    def common(self) -> list[str]:
        """The options that every command of this studio has which reads data."""
        data_dir = [f"--data-dir={self.data_dir}"] if self.data_dir else []
        return data_dir + (["--offline"] if self.offline else [])


Handler = Callable[[Studio, Request, Mapping[str, Any]], Any]
"""What answers a request, from the studio, the request and the JSON of its body."""
