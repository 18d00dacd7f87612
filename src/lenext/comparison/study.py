"""The database of a search: who is at which trial, what it was asked for, and what the database complains of."""

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

from lenext.comparison.plan import one_at_a_time
from lenext.comparison.trials import taken
from lenext.foundation.errors import ConfigurationError, RunError

FORGOTTEN = 60.0  # seconds after which a trial that no process has put its name to is taken over
HERE, SOUGHT = "where", "sought"  # attributes of a trial, and of a study
SEED = 0  # of the sampler


def check_installed() -> None:
    """Raises ConfigurationError without Optuna."""
    if find_spec("optuna") is None:
        raise ConfigurationError("--search optuna needs Optuna: pip install 'lenext[tune]'")


@contextmanager
def opened(url: str, name: str, sought: Mapping[str, Any]) -> Iterator[Any]:
    """The study in the database, made where it is not there; what the database complains of, in a line."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(logging.WARNING)
    shown, asked = masked(url), json.dumps(sought, sort_keys=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                storage=url, study_name=name, direction="maximize", load_if_exists=True,
                sampler=optuna.samplers.TPESampler(seed=SEED, multivariate=True),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
            )  # fmt: skip
            if study.user_attrs.setdefault(SOUGHT, asked) != asked:
                raise RunError(f"{shown}: the study {name} is of another network or other options; give another --name")
            study.set_user_attr(SOUGHT, asked)
            yield study
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        raise RunError(f"{shown}: {reason(error)}") from error
    except RuntimeError as error:
        if "optuna" not in str(error).lower():
            raise
        raise RunError(f"{shown}: {reason(error)}; give another --database or --name") from error


def masked(url: str) -> str:
    """A database's address without the password that may be in it."""
    return re.sub(r"//([^/@:]*):[^@/]*@", r"//\1:***@", url)


def reason(error: BaseException) -> str:
    """The innermost cause of what a database complains of, and what to do."""
    while (inner := error.__cause__ or error.__context__) is not None and inner is not error:
        error = inner
    said_so = " ".join(str(error).split())
    hint = {
        "locked": "another program holds it; wait for it, or end it",
        "not a database": "the file is broken or something else; give another --database or --name",
        "malformed": "the file is broken; restore it, or give another --database or --name",
        "version": "it was made by another version of Optuna; `optuna storage upgrade` may help",
    }
    return next((f"{said_so}; {what}" for word, what in hint.items() if word in said_so), said_so)


def next_trial(study: Any, folder: Path, most: int, *, alone: bool) -> Any | None:
    """A trial that a killed process has left, else a new one, else None once there are so many.

    alone: whether only processes that use this folder use the database; they ask one at a time."""
    from optuna.trial import Trial as Asked
    from optuna.trial import TrialState

    with one_at_a_time(folder):
        trials = study.get_trials(deepcopy=False)
        for one in trials:
            if one.state == TrialState.RUNNING and is_left(one, folder, alone):
                asked = Asked(study, one._trial_id)
                if study.get_trials(deepcopy=False)[one.number].state != TrialState.RUNNING:
                    continue  # it was told just before it was let go of
                asked.set_user_attr(HERE, place_of(folder))
                return asked
        if len(trials) >= most:
            return None
        study.sampler.reseed_rng()  # else processes that begin alike ask alike
        asked = study.ask()
        asked.set_user_attr(HERE, place_of(folder))
        return asked


def is_left(one: Any, folder: Path, alone: bool) -> bool:
    """Whether a running trial is of this folder, and no process is at it."""
    where = one.user_attrs.get(HERE)
    if where is None:  # killed before it could put its name to it
        return alone or one.datetime_start is None or (datetime.now() - one.datetime_start).total_seconds() > FORGOTTEN
    if where != place_of(folder):
        return False
    with taken(folder, folder_of(one.number)) as mine:
        return mine


def place_of(folder: Path) -> str:
    return f"{socket.gethostname()}:{folder.resolve()}"


def folder_of(number: int) -> str:
    return f"trial-{number:04d}"
