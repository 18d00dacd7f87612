"""`vary --search optuna`: variations sought by Optuna (extra `tune`), in a database that several processes may share.

A trial is asked for once, its run lies in a folder named by its number, and it is told once: a process that is killed
leaves it running in the database, and the next one goes on with its run.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lenext.comparison.costs import costs_of, jobs_of, machine_of
from lenext.comparison.plan import Contestant, Plan, check_seed, data_of, settled, spelled, state_of
from lenext.comparison.standings import Cost, Standing, ranked, tell, write_csv, write_page
from lenext.comparison.study import HERE, check_installed, folder_of, masked, next_trial, opened, place_of
from lenext.comparison.trials import Outcome, Trial, done, read_test_of, taken, told_of, trained
from lenext.comparison.values import Choices, in_proportion, parse, said
from lenext.comparison.variations import BASE, base_of, check_judged, varied
from lenext.data.dataset import Dataset
from lenext.foundation.errors import ConfigurationError, LenextError, RunError
from lenext.foundation.files import expand_path
from lenext.reporting.console import Console
from lenext.runs.folder import Run
from lenext.training.experiment import Experiment
from lenext.training.metrics import Record
from lenext.workflows.train import absolute_path, default_name

REFUSED = "refused"  # an attribute of a trial: why


class PrunedError(LenextError):
    """A trial that promises too little to be gone on with."""


@dataclass(frozen=True)
class Search:
    """What a search came to: its folder with the page and the table, the trials that ended, the best first."""

    path: Path
    standings: tuple[Standing, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        return self.path / "search.html"


def seek(
    network: str,
    options: Sequence[str],
    *,
    data: str = "",
    trials: int = 20,
    database: str = "",
    recipe: str = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    label_column: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **given: Any,
) -> Search:
    """Let Optuna choose among the options, `KEY=V1,V2` or `KEY=LOW..HIGH`, by validation; weak trials are pruned.

    trials: how many in all, over all processes; the same request goes on until there are so many
    database: a URL, so that several machines may take part, each with the same `name`; without it, a file beside the
        runs, which several processes of this machine may share

    Only the best trial reads the test set. Raises ConfigurationError for what cannot be sought, RunError for a database
    that is locked, broken or of another version.
    """
    check_seed(given)
    choices = parse(network, options)
    if not choices or trials < 1:
        raise ConfigurationError("a search needs --option KEY=LOW..HIGH or KEY=V1,V2, and at least one of --trials")
    check_installed()
    data = data_of(recipe, data)
    request = {
        "vary": network, "options": list(options), "data": absolute_path(data),
        "state": state_of(data, recipe, network),         "search": "optuna", "database": masked(database),
        "recipe": recipe, "label_column": label_column, "settings": {key: given[key] for key in sorted(given)},
    }  # fmt: skip
    where: dict[str, Any] = {"data_dir": data_dir, "offline": offline}
    with Console(quiet) as console:
        kept: list[Dataset] = []

        def make() -> Plan:
            base, whole = base_of(network, data, recipe, label_column, given, data_dir, offline)
            check_judged(base, whole)
            kept.append(whole)
            jobs = jobs_of({BASE: base}, whole, data_dir, offline)
            one = Contestant(BASE, base, costs_of(jobs, "no")[BASE])
            return Plan({}, (one,), 1, machine_of(jobs))

        otherwise = default_name("", Experiment(network=f"search-{network}", data=data))
        folder, plan, _ = settled(
            request, expand_path(runs_dir), name, otherwise.replace(":", "-").replace("/", "-"), make
        )
        base = plan.contestants[0].experiment
        whole = kept[0] if kept else base_of(network, data, recipe, label_column, given, data_dir, offline)[1]
        console.print_facts(
            {"search": str(folder), "trials": f"{trials}, judged on validation", "machine": plan.machine}
        )
        console.print()
        sought = {key: request[key] for key in ("vary", "options", "recipe", "settings")}
        with opened(database or f"sqlite:///{folder / 'study.db'}", name or folder.name, sought) as study:
            while (trial := next_trial(study, folder, trials, alone=not database)) is not None:
                outcome = carried(study, trial, base, choices, whole, folder, where)
                if outcome:
                    console.print(f"trial {trial.number}: {outcome}")
            found = concluded(study, plan, folder, request | {"trials": trials, "name": name}, where)
        tell(found.standings[:20], found.notes, console.print)
        counts = ", ".join(f"{number} {state}" for state, number in found.counts.items())
        console.print(f"{counts}\n\npage: {found.page}")
    return found


def carried(
    study: Any,
    trial: Any,
    base: Experiment,
    choices: Sequence[Choices],
    whole: Dataset,
    folder: Path,
    where: dict[str, Any],
) -> str:
    """Do a trial and tell the study; what came of it, in a line; nothing where another process is at it."""
    from optuna.trial import TrialState

    with taken(folder, folder_of(trial.number)) as mine:
        if not mine:
            time.sleep(0.1)
            return ""
        values = {one.key: suggested(trial, one) for one in choices}
        words = " ".join(f"{key}={said(value)}" for key, value in values.items())
        try:
            experiment = varied(base, choices, values)
            job = jobs_of({words: experiment}, whole, where["data_dir"], where["offline"])
            cost = costs_of(job, "no")[words]
            trial.set_user_attr("cost", vars(cost))
        except ConfigurationError as error:
            trial.set_user_attr(REFUSED, str(error))
            study.tell(trial.number, state=TrialState.FAIL)
            return f"{words}: refused: {error}"
        one = NumberedTrial(words, experiment, trial.number)
        try:
            before = done(one, folder)
            outcome = before or Outcome(
                one, trained(one, folder, **where, read_test=False, watch=reporter(trial, one, folder))
            )
        except PrunedError:
            study.tell(trial.number, state=TrialState.PRUNED)
            return f"{words}: pruned"
        except Exception as error:  # a network of one's own may raise anything
            if type(error).__module__.startswith(("optuna.", "sqlalchemy.", "sqlite3")):
                raise
            trial.set_user_attr(REFUSED, told_of(error))
            study.tell(trial.number, state=TrialState.FAIL)
            return f"{words}: failed: {told_of(error)}"
        if outcome.validation is None:  # a run that is not this trial's lies there
            raise RunError(outcome.failure or f"{folder / one.name}: without validation; remove it")
        study.tell(trial.number, outcome.validation)
        return f"{words}: {outcome.said()}"


@dataclass(frozen=True)
class NumberedTrial(Trial):
    """One whose folder is named by its number in the study."""

    number: int

    @property
    def name(self) -> str:
        return folder_of(self.number)


def suggested(trial: Any, one: Choices) -> Any:
    """What the study suggests for a key. Lists are asked for by their names, as a database keeps plain values only."""
    if one.span:
        low, high = one.span.low, one.span.high
        if not one.span.whole:
            return trial.suggest_float(one.key, low, high, log=one.span.log)
        number = trial.suggest_int(one.key, int(low), int(high), log=one.span.log)
        return in_proportion(number, one.base) if isinstance(one.base, tuple) else number
    names = [said(value) for value in one.values]
    return one.values[names.index(trial.suggest_categorical(one.key, names))]


def reporter(trial: Any, one: Trial, folder: Path) -> Callable[[Record], None]:
    """Tells the study each epoch's validation, and ends what it would prune."""
    known = trial.study.trials[trial.number].intermediate_values

    def report(record: Record) -> None:
        if record.val_accuracy is None:
            return
        if record.epoch not in known:  # a run that goes on repeats none, but may have been killed before it was told
            trial.report(record.val_accuracy, record.epoch)
        if record.epoch < one.experiment.recipe.epochs and trial.should_prune():
            raise PrunedError(f"{folder / one.name}: pruned after epoch {record.epoch}")

    return report


def concluded(study: Any, plan: Plan, folder: Path, request: Mapping[str, Any], where: dict[str, Any]) -> Search:
    """The trials that ended, as a table and a page; the best reads the test set, once none is at work any more, where
    its run lies here."""
    from optuna.trial import TrialState

    standings, counts, places = [], dict[str, int](), dict[str, str]()
    base = plan.contestants[0].experiment
    for trial in study.get_trials(deepcopy=False):
        counts[trial.state.name.lower()] = counts.get(trial.state.name.lower(), 0) + 1
        if trial.state != TrialState.COMPLETE:
            continue
        words = " ".join(f"{key}={said(value)}" for key, value in trial.params.items())
        one = NumberedTrial(words, base, trial.number)
        here = trial.user_attrs.get(HERE) == place_of(folder)
        outcome = Outcome(one, Run(folder / one.name)) if here else Outcome(one, told=trial.value)
        name = f"{trial.number}: {words}"
        places[name] = "" if here else str(trial.user_attrs.get(HERE))
        settings = {key: said(value) for key, value in trial.params.items()}
        standings.append(Standing(name, (outcome,), costs_from(trial.user_attrs.get("cost")), settings))
    if not standings:
        raise RunError(f"{folder}: no trial has ended well; its options may not suit the data")
    order = ranked(standings, "validation")
    notes = [f"{order[0].name} is the best of {len(order)} on the validation that chose it, which flatters it"]
    place = ""
    if running := counts.get("running"):
        notes.append(f"{running} trials are still running elsewhere; the same command concludes once they have ended")
    elif place := places[order[0].name]:
        notes.append(f"the best trial's run is at {place}; the same command there reads its test set")
    else:
        order[0] = replace(order[0], outcomes=tuple(read_test_of(one, **where) for one in order[0].outcomes))
    write_csv(order, folder / "search.csv")
    facts = [("trials", ", ".join(f"{number} {state}" for state, number in counts.items())), ("machine", plan.machine)]
    command = ["lenext", "vary", str(request["vary"]), *(f"--option={one}" for one in request["options"])]
    command += spelled(request, "data", "search", "trials", "database", "name", "recipe", "label_column")
    elsewhere = f"at {place}", "in another folder, perhaps on another machine"  # a page tells no machine's name
    write_page(
        folder / "search.html", order, title=f"{request['vary']}: variations sought", part="validation", facts=facts,
        notes=[note.replace(*elsewhere) for note in notes] if place else notes, command=shlex.join(command),
    )  # fmt: skip
    return Search(folder, tuple(order), counts, tuple(notes))


def costs_from(found: Any) -> Cost | None:
    return Cost(**found) if isinstance(found, dict) else None
