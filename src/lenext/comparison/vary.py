"""`vary`: one network, changed option by option or recipe key by recipe key, and what each change gains and costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lenext.comparison.engine import run_comparison
from lenext.comparison.plan import choose_data
from lenext.comparison.search import Search
from lenext.comparison.specification import Comparison
from lenext.comparison.variations import Variations
from lenext.reporting.console import Console
from lenext.workflows.context import Context
from lenext.workflows.prepare import absolute_path


def vary(
    network: str,
    options: Sequence[str],
    *,
    data: str = "",
    search: Literal["grid", "one", "optuna"] = "grid",
    seeds: int = 1,
    trials: int = 20,
    database: str = "",
    recipe: str = "",
    name: str = "",
    runs_dir: str | Path = "runs",
    label_column: str = "",
    data_dir: str | Path | None = None,
    offline: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Comparison:
    """Train variations of a network, and report what each change gains and costs.

    All are judged on validation; only the best reads the test set. The same request again resumes its comparison.
    Variations that cannot work are left out before anything is trained, with the doctor's reason.

    Options are `KEY=V1,V2`, of the network's constructor or of the recipe; see `parse_choices`. `search` is `grid` for
    all combinations, or `one` for each value alone (an ablation), both beside the unchanged network. With `optuna`
    (extra `tune`), Optuna chooses `trials` variations, over ranges `KEY=LOW..HIGH` too, and prunes weak ones. Then
    `database` may be a URL, so that several machines take part, each with the same `name`; by default it is a file in
    the folder, which several processes of this machine may share. The other arguments are those of `race`.

    Raises:
        ConfigurationError: An option does not exist, or nothing is left to compare.
        RunError: The database is locked, broken or of another version.
    """
    data = absolute_path(choose_data(recipe, data))
    specification = Variations(network, tuple(options), data, search, seeds, recipe, label_column, settings=settings)
    if search == "optuna":
        specification = Search(**vars(specification), trials=trials, database=database, name=name)
    return run_comparison(specification, runs_dir, name, Context(data_dir, offline, Console(quiet)))
