"""The database of a search, shared by its processes: which trials there are, who trains them, and its errors."""

import json
import logging
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lenext.comparison.plan import lock_planning
from lenext.comparison.trials import lock_trial, name_numbered
from lenext.foundation.errors import ConfigurationError, RunError

ABANDONED_SECONDS = 60.0  # after which a trial that no process has put its name to is taken over
PLACE = "where"  # the attribute of a trial that says which machine and folder it runs in
IDENTITY = "sought"  # the attribute of a study that says what it searches
SAMPLER_SEED = 0


def check_installed() -> None:
    """Raise ConfigurationError without Optuna."""
    if find_spec("optuna") is None:
        raise ConfigurationError("--search optuna needs Optuna: pip install 'lenext[tune]'")


@contextmanager
def open_study(url: str, name: str, identity: Mapping[str, Any]) -> Iterator[Any]:
    """Open the study in the database, or create it.

    Raises:
        RunError: The study has another identity, or the database fails; with the cause in one line.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(logging.WARNING)
    shown_url, identity_text = mask_password(url), json.dumps(identity, sort_keys=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                storage=url, study_name=name, direction="maximize", load_if_exists=True,
                sampler=optuna.samplers.TPESampler(seed=SAMPLER_SEED, multivariate=True),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
            )  # fmt: skip
            if study.user_attrs.setdefault(IDENTITY, identity_text) != identity_text:
                raise RunError(
                    f"{shown_url}: the study {name} is of another network or other options; give another --name"
                )
            study.set_user_attr(IDENTITY, identity_text)
            yield study
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        raise RunError(f"{shown_url}: {explain_error(error)}") from error
    except RuntimeError as error:
        if "optuna" not in str(error).lower():
            raise
        raise RunError(f"{shown_url}: {explain_error(error)}; give another --database or --name") from error


def mask_password(url: str) -> str:
    return re.sub(r"//([^/@:]*):[^@/]*@", r"//\1:***@", url)


def explain_error(error: BaseException) -> str:
    """Return the innermost cause of a database error, and what to do."""
    while (inner := error.__cause__ or error.__context__) is not None and inner is not error:
        error = inner
    text = " ".join(str(error).split())
    hints = {
        "locked": "another program holds it; wait for it, or end it",
        "not a database": "the file is broken or something else; give another --database or --name",
        "malformed": "the file is broken; restore it, or give another --database or --name",
        "version": "it was made by another version of Optuna; `optuna storage upgrade` may help",
    }
    return next((f"{text}; {hint}" for word, hint in hints.items() if word in text), text)


def next_trial(study: Any, folder: Path, max_trials: int, *, alone: bool) -> Any | None:
    """Return a trial that a killed process left, else a new one; None once there are `max_trials`.

    `alone`: all processes that use the database use this folder, too, and ask one at a time.
    """
    from optuna.trial import Trial, TrialState

    with lock_planning(folder):
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == TrialState.RUNNING and is_abandoned(trial, folder, alone):
                suggestion = Trial(study, trial._trial_id)
                if study.get_trials(deepcopy=False)[trial.number].state != TrialState.RUNNING:
                    continue  # its process reported it just before it released the lock
                suggestion.set_user_attr(PLACE, place_of(folder))
                return suggestion
        if len(trials) >= max_trials:
            return None
        study.sampler.reseed_rng()  # else processes that begin alike ask alike
        suggestion = study.ask()
        suggestion.set_user_attr(PLACE, place_of(folder))
        return suggestion


def is_abandoned(trial: Any, folder: Path, alone: bool) -> bool:
    """Return whether a running trial is of this folder, and no process trains it."""
    place, start = trial.user_attrs.get(PLACE), trial.datetime_start
    if place is None:  # killed before it could put its name to it
        return alone or start is None or (datetime.now() - start).total_seconds() > ABANDONED_SECONDS
    if place != place_of(folder):
        return False
    with lock_trial(folder, name_numbered(trial.number)) as is_free:
        return is_free


def place_of(folder: Path) -> str:
    return f"{socket.gethostname()}:{folder.resolve()}"
