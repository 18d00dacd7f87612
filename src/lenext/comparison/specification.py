"""The specification of one kind of comparison; all else is the engine's."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from lenext.comparison.plan import Contestant, Plan
from lenext.comparison.standings import Part, Standing
from lenext.comparison.trials import run_trials
from lenext.data.dataset import Dataset
from lenext.training.experiment import Experiment
from lenext.workflows.context import Context
from lenext.workflows.costs import Timing
from lenext.workflows.job import Job

EpochRow = Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """A comparison that has been carried out.

    Attributes:
        path: The folder with the plan, the trials' runs, the CSV and the page.
        page: The HTML page.
        standings: The contestants, the best on validation first; those of a lesson in its order.
        conclusions: What the figures support, a sentence each.
        left_out: What was asked for, but not compared, with the reason.
        counts: The number of trials by their end: complete, failed, of a search also pruned, running.
    """

    path: Path
    page: Path
    standings: tuple[Standing, ...]
    conclusions: tuple[str, ...]
    left_out: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Specification(ABC):
    """One kind of comparison: what is asked for, who takes part, and what is concluded.

    Its fields are what is asked for: the positional argument of a verb of the command line, then its options.

    Attributes:
        kind: Names the CSV and the page.
        verb: Of the command line.
        part: Where accuracy is judged. On `validation` only the best contestant reads the test set, at the end.
        ranked: Whether the best is first; otherwise the contestants keep their order.
        baseline: The contestant that all others are measured against, and that has to fit the data where others are
            left out if they do not; empty if the best is the measure and all have to fit.
        incidental: Fields in which two requests for the same comparison may differ.
        settings: Recipe keys for all contestants.
    """

    kind: ClassVar[str]
    verb: ClassVar[str]
    part: ClassVar[Part] = "test"
    ranked: ClassVar[bool] = True
    baseline: ClassVar[str] = ""
    incidental: ClassVar[tuple[str, ...]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    @abstractmethod
    def seeds(self) -> int:
        """The number of trainings of each contestant."""

    @abstractmethod
    def title(self) -> str:
        """Return the title of the page."""

    @abstractmethod
    def default_name(self) -> str:
        """Return the name of the folder, if none was asked for."""

    @abstractmethod
    def first_experiment(self) -> Experiment:
        """Return an experiment that names the data."""

    @abstractmethod
    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        """Return who takes part, not measured yet, and what was left out, with the reason."""

    @abstractmethod
    def facts(self, plan: Plan) -> dict[str, str]:
        """Describe what is compared, for the console and the page."""

    @abstractmethod
    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        """Return what the figures support, a sentence each."""

    def request(self) -> dict[str, Any]:
        """Return what was asked for, as JSON; the same request finds the same comparison again."""
        values = {key.name: getattr(self, key.name) for key in fields(self) if key.name not in self.incidental}
        return {"comparison": self.kind, **values, "settings": dict(sorted(self.settings.items()))}

    def command(self) -> list[str]:
        """Return the command line that asks for the same."""
        (_, positional), *options = [(key, getattr(self, key.name)) for key in fields(self) if key.name != "settings"]
        words = ["lenext", self.verb, *([positional] if isinstance(positional, str) else positional)]
        for key, value in options:
            words += format_option(key.name, value) if value != key.default else []
        return words + [word for key, value in sorted(self.settings.items()) for word in format_option(key, value)]

    def timing(self) -> Timing:
        """Return how the contestants' training steps are timed."""
        return "roughly"

    def within_budget(self, contestants: Sequence[Contestant], jobs: Mapping[str, Job]) -> list[Contestant]:
        """Return the contestants with as many steps as each may take."""
        return list(contestants)

    def run_trials(
        self, plan: Plan, folder: Path, context: Context, data: Dataset | None = None
    ) -> tuple[list[Standing], Mapping[str, int]]:
        """Train what is not trained yet; `data` are those that the plan was just made with.

        Returns:
            The standings, and the number of trials by their end.
        """
        outcomes = run_trials(plan.trials(), folder, context, read_test=self.part == "test", forecast=plan.forecast())
        return plan.standings(outcomes), Counter("failed" if outcome.failure else "complete" for outcome in outcomes)

    def table_title(self) -> str:
        """Return the title of the table on the console."""
        return "standings, by validation"

    def epoch_rows(self, standings: Sequence[Standing]) -> list[EpochRow]:
        """Return figures by epoch, in per cent, that replace the standings in the outputs; normally none."""
        return []


def format_option(name: str, value: Any) -> list[str]:
    """Return an option of the command line; one for each entry of a tuple."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{option}"]
    return [f"--{option}={entry}" for entry in value] if isinstance(value, tuple) else [f"--{option}", str(value)]
