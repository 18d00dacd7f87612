"""`vary --search optuna`: variations chosen by Optuna (extra `tune`), in a database that several processes may share.

A trial is suggested once, its run is in a folder named by its number, and its accuracy is reported once. A process that
is killed leaves its trial running in the database; the next process resumes its run.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenext.comparison import study
from lenext.comparison.plan import Contestant, Plan
from lenext.comparison.standings import Standing, rank_standings
from lenext.comparison.trials import Outcome, Trial, find_outcome, format_error, lock_trial, name_numbered, train_trial
from lenext.comparison.values import Choices, apply_values, format_value, format_values, scale_tuple
from lenext.comparison.variations import BASE, Variations, check_has_validation
from lenext.data import shown_source
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.metrics import Record
from lenext.workflows.context import Context
from lenext.workflows.costs import Cost, Timing, build_jobs, measure_costs
from lenext.workflows.prepare import load_data


class PrunedError(LenextError):
    """The end of a trial that promises too little to continue."""


@dataclass(frozen=True)
class Search(Variations):
    """Variations that Optuna chooses. Its fields are the arguments of `vary`."""

    trials: int = 20
    database: str = ""
    name: str = ""
    kind, baseline, incidental = "search", "", ("trials", "name")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds != 1:
            raise ConfigurationError("seeds: a search trains each trial once; leave it out")
        if self.trials < 1:
            raise ConfigurationError(f"trials={self.trials}: at least 1")
        study.check_installed()

    def request(self) -> dict[str, Any]:
        return super().request() | {"database": study.mask_password(self.database)}

    def command(self) -> list[str]:
        return [study.mask_password(word) for word in super().command()]

    def title(self) -> str:
        return f"{self.network}: variations searched"

    def timing(self) -> Timing:
        return "no"

    def contestants(self, data: Dataset) -> tuple[list[Contestant], dict[str, str]]:
        base = self.first_experiment()
        check_has_validation(base, data)
        return [Contestant(BASE, base)], {}

    def facts(self, plan: Plan) -> dict[str, str]:
        return {"search": f"{self.network} on {shown_source(self.data)}, {self.trials} trials, judged on validation"}

    def run_trials(
        self, plan: Plan, folder: Path, context: Context, data: Dataset | None = None
    ) -> tuple[list[Standing], Mapping[str, int]]:
        base = plan.contestants[0].experiment
        data = data or load_data(base, context)
        identity = {
            "vary": self.network, "options": list(self.option), "recipe": self.recipe,
            "settings": dict(sorted(self.settings.items())),
        }  # fmt: skip
        url = self.database or f"sqlite:///{folder / 'study.db'}"
        with study.open_study(url, self.name or folder.name, identity) as database:
            while (suggestion := study.next_trial(database, folder, self.trials, alone=not self.database)) is not None:
                with lock_trial(folder, name_numbered(suggestion.number)) as is_ours:
                    if is_ours:
                        result = train_suggestion(suggestion, base, self.choices, data, folder, context)
                        context.console.print(f"trial {suggestion.number}: {result}")
                    else:
                        time.sleep(0.1)
            standings, counts = read_standings(database, base, folder)
        if not standings:
            raise RunError(f"{folder}: no trial has succeeded; its options may not suit the data")
        best = rank_standings(standings)[0]
        if place := best.outcomes[0].remote_place:
            context.console.print(f"the best trial, {best.name}, ran at {place}")
        return standings, counts

    def conclude(self, standings: Sequence[Standing], counts: Mapping[str, int]) -> list[str]:
        best, number = standings[0], counts.get("running")
        conclusions = [
            f"{best.name} is the best of {len(standings)} on the validation that chose it, which flatters it"
        ]
        if number:
            conclusions.append(f"{number} trials still run elsewhere; the same command concludes once they have ended")
        elif best.outcomes[0].run is None:  # a page names no machine
            conclusions.append(
                "the run of the best trial is in another folder, perhaps on another machine; the same command there "
                "reads its test set"
            )
        return conclusions


def train_suggestion(
    suggestion: Any, base: Experiment, choices: Sequence[Choices], data: Dataset, folder: Path, context: Context
) -> str:
    """Train the trial that the study asks for, and report its accuracy to the study. Returns the result in a line."""
    from optuna.trial import TrialState

    def fail(reason: str) -> str:
        suggestion.set_user_attr("refused", reason)
        suggestion.study.tell(suggestion.number, state=TrialState.FAIL)
        return reason

    values = {choice.key: suggest_value(suggestion, choice) for choice in choices}
    name = format_values(values)
    try:
        experiment = apply_values(base, choices, values)
        jobs, misfits = build_jobs({name: experiment}, data, context)
        if misfits:
            raise ConfigurationError(misfits[name])
        suggestion.set_user_attr("cost", vars(measure_costs(jobs, "no")[name]))
    except ConfigurationError as error:
        return f"{name}: refused: {fail(str(error))}"
    trial = Trial(name, experiment, suggestion.number)
    try:
        watch = make_watch(suggestion, trial)
        outcome = find_outcome(trial, folder) or Outcome(trial, train_trial(trial, folder, context, False, watch))
    except PrunedError:
        suggestion.study.tell(suggestion.number, state=TrialState.PRUNED)
        return f"{name}: pruned"
    except Exception as error:  # a user-defined network may raise anything
        if type(error).__module__.startswith(("optuna.", "sqlalchemy.", "sqlite3")):
            raise
        return f"{name}: failed: {fail(format_error(error))}"
    if outcome.validation is None:  # a run that is not this trial's
        raise RunError(outcome.failure or f"{folder / trial.name}: without validation; remove it")
    suggestion.study.tell(suggestion.number, outcome.validation)
    return f"{name}: {outcome.describe()}"


def suggest_value(suggestion: Any, choice: Choices) -> Any:
    """Return the study's suggestion for a key. A database keeps plain values only, so tuples go by their names."""
    limits = choice.range
    if limits is None:
        names = [format_value(value) for value in choice.values]
        return choice.values[names.index(suggestion.suggest_categorical(choice.key, names))]
    if not limits.integer:
        return suggestion.suggest_float(choice.key, limits.low, limits.high, log=limits.log)
    number = suggestion.suggest_int(choice.key, int(limits.low), int(limits.high), log=limits.log)
    return scale_tuple(number, choice.default) if isinstance(choice.default, tuple) else number


def make_watch(suggestion: Any, trial: Trial) -> Callable[[Record], None]:
    """Return a function that reports each epoch's validation to the study, and ends a trial that the study prunes."""
    reported = suggestion.study.trials[suggestion.number].intermediate_values

    def watch(record: Record) -> None:
        if record.val_accuracy is None:
            return
        if record.epoch not in reported:  # a resumed run may have been killed between an epoch and its report
            suggestion.report(record.val_accuracy, record.epoch)
        if record.epoch < trial.experiment.recipe.epochs and suggestion.should_prune():
            raise PrunedError(f"{trial.name}: pruned after epoch {record.epoch}")

    return watch


def read_standings(database: Any, base: Experiment, folder: Path) -> tuple[list[Standing], dict[str, int]]:
    """Return the trials that succeeded, of all processes, and the number of trials by state."""
    standings, counts = [], dict[str, int]()
    for frozen in database.get_trials(deepcopy=False):
        state = frozen.state.name.lower()
        counts[state] = counts.get(state, 0) + 1
        if state != "complete":
            continue
        settings = {key: format_value(value) for key, value in frozen.params.items()}
        trial = Trial(format_values(frozen.params), base, frozen.number)
        place, cost = str(frozen.user_attrs.get(study.PLACE)), frozen.user_attrs.get("cost")
        if place == study.place_of(folder):
            outcome = Outcome(trial, Run(folder / trial.name))
        else:
            outcome = Outcome(trial, remote_validation=frozen.value, remote_place=place)
        cost = Cost(**cost) if isinstance(cost, dict) else None
        standings.append(Standing(f"{frozen.number}: {trial.contestant}", (outcome,), cost, settings))
    return standings, counts
