"""A run whose weights, data and answers are opened at first use, once for all figures and pages made from it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import nn

from lenext.data.dataset import Dataset, Split
from lenext.foundation.errors import DataError
from lenext.runs.folder import Run
from lenext.runs.saved_predictions import SavedPredictions, read_predictions
from lenext.runs.weights import Description
from lenext.workflows.context import Context
from lenext.workflows.open_weights import open_weights
from lenext.workflows.prepare import open_data


@dataclass
class OpenedRun:
    """A run, and what is opened of it.

    Attributes:
        run: The run's folder.
        network: The network of a run whose network is user-defined: `FILE.py:Class`, or a module.
        context: Where the run's data are found.
    """

    run: Run
    network: nn.Module | str = ""
    context: Context = field(default_factory=Context)

    @cached_property
    def weights(self) -> tuple[nn.Module, Description]:
        """The network with its best weights on the CPU, and its description. Raises RunError."""
        module, description = open_weights(self.run, "best", self.network)
        return module.cpu(), description

    @property
    def module(self) -> nn.Module:
        return self.weights[0]

    @property
    def description(self) -> Description:
        return self.weights[1]

    @cached_property
    def data(self) -> Dataset:
        """The data, split as for the run's training. Raises DataError where they are missing or have changed."""
        return open_data(self.run, self.context)

    @property
    def split(self) -> Split:
        """The test samples; without them the validation samples, then the training samples."""
        return self.data.test or self.data.validation or self.data.train

    @cached_property
    def answers(self) -> SavedPredictions:
        """The predictions on the test set. Raises DataError where the test set was never read."""
        classes = self.run.read_json("split.json").get("classes", ())
        answers = read_predictions(self.run.path / "predictions.csv", classes)
        if answers is None:
            raise DataError(f"{self.run.path}: there is no predictions.csv; the run has not read its test set")
        return answers


def open_run(
    run: str | Path | Run | OpenedRun,
    network: nn.Module | str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> OpenedRun:
    """Open a run by its folder; an opened run is returned unchanged. Raises RunError for a folder that is no run."""
    if isinstance(run, OpenedRun):
        return run
    return OpenedRun(Run.open(run), network, Context(data_dir, offline))
