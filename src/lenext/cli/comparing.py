"""`lenext compare`: runs side by side, or a race of networks."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lenext.cli.app import DataDir, Offline, app
from lenext.cli.settings import Settings, given
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expanded

RunsDir = Annotated[Path, Parameter(help="where its folder goes")]
Name = Annotated[str, Parameter(help="of its folder (default: that of the same request, else a new one)")]
Seeds = Annotated[int, Parameter(help="trainings of each, with the seeds 0, 1, ...")]
RecipeName = Annotated[str, Parameter(help="one for all: a name (lenext list recipes) or a YAML file")]
LabelColumn = Annotated[str, Parameter(help="a CSV's column of labels: a name, or a number from 0")]


def compare(
    *contestants: Annotated[str, Parameter(help="two networks or more (names, FILE.py:Class), or two runs' folders")],
    data: Annotated[str, Parameter(help="of a race: a name or a path, as for train")] = "digits",
    seeds: Seeds = 3,
    budget: Annotated[str, Parameter(help="of each training: a time (90s, 5m, 1h) or multiply-adds (30T, 2P)")] = "",
    recipe: RecipeName = "",
    name: Name = "",
    runs_dir: RunsDir = Path("runs"),
    label_column: LabelColumn = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Annotated[Path, Parameter(help="of runs: the page")] = Path("compare.html"),
    settings: Annotated[Any, Parameter(name="*")] = Settings(),  # noqa: B008
) -> None:
    """Race networks on the same data, with the same split, order, augmentation and budget, over several seeds; or put
    the runs that are there on one page."""
    runs = [one for one in contestants if (expanded(one) / "recipe.yaml").is_file()]
    if not runs:
        from lenext.comparison.race import race

        race(
            *contestants, data=data, seeds=seeds, budget=budget, recipe=recipe, name=name, runs_dir=runs_dir,
            label_column=label_column, data_dir=data_dir, offline=offline, **given(settings),
        )  # fmt: skip
        return
    strangers = [one for one in contestants if one not in runs]
    if strangers:
        raise ConfigurationError(f"{strangers[0]}: not a run; give runs alone, or networks alone")
    from lenext.comparison.side_by_side import compare as work

    sys.stdout.write(f"{work(*contestants, out=out)}\n")


for verb in (compare,):
    verb.__annotations__["settings"] = Annotated[Settings, Parameter(name="*")]
app.command(compare)
