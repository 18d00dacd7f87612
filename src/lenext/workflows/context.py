"""The context of a training: everything it needs that does not belong to its experiment."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from lenext.data.dataset import Dataset
from lenext.foundation.group import Group
from lenext.reporting.console import Console


@dataclass(frozen=True)
class Context:
    """The surroundings of a training: its data folder, its console, and objects made in Python.

    Attributes:
        data_dir: The folder of the published data sets; None for the default.
        offline: Whether the network must not be used.
        console: Where progress is printed.
        network: The network, when the experiment does not name one.
        dataset: The data, when they were made in Python.
        group: The processes that train together; by default this one alone.
    """

    data_dir: str | Path | None = None
    offline: bool = False
    console: Console = field(default_factory=lambda: Console(quiet=True))
    network: nn.Module | None = None
    dataset: Dataset | None = None
    group: Group = field(default_factory=Group)
