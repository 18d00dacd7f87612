"""`lenext compare`: runs side by side, or a race of networks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, app, refuse
from lenext.cli.settings import SettingsWithoutSeed, explicit_settings
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path
from lenext.foundation.streams import write_out
from lenext.reporting.tables import print_rows

SEEDS = "trainings of each, with the seeds 0, 1, ..."
Data = Annotated[str, Parameter(help="a name or a path, as for train (default: that of --recipe, else digits)")]
RunsDir = Annotated[Path, Parameter(help="where its folder goes")]
Name = Annotated[str, Parameter(help="of its folder (default: that of the same request, else a new one)")]
Threads = Annotated[int | None, INTEGER, Parameter(help="of the CPU")]
RecipeName = Annotated[str, Parameter(help="one for all: a name (lenext list recipes) or a YAML file")]
LISTING = "on the list"
LabelColumn = Annotated[str, Parameter(help="a CSV's column of labels: a name, or a number from 0")]


def compare(
    *contestants: Annotated[str, Parameter(help="two networks or more (names, FILE.py:Class), or two runs' folders")],
    data: Data = "",
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 3)")] = None,
    budget: Annotated[str, Parameter(help="of each training: a time (90s, 5m, 1h) or multiply-adds (30T, 2P)")] = "",
    recipe: RecipeName = "",
    name: Name = "",
    runs_dir: Annotated[Path | None, Parameter(help="where its folder goes (default: runs)")] = None,
    label_column: LabelColumn = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Annotated[Path | None, Parameter(help="of runs: the page (default: compare.html)")] = None,
    settings: Annotated[Any, Parameter(name="*")] = SettingsWithoutSeed(),  # noqa: B008
) -> None:
    """Race networks on the same data, with the same split, order, augmentation and budget, over several seeds; or put
    the runs that are there on one page."""
    runs = [one for one in contestants if (expand_path(one) / "recipe.yaml").is_file()]
    if not runs:
        refuse("on a race, whose page lies in its folder", out=out)
        from lenext.comparison.race import race

        race(
            *contestants, data=data, seeds=3 if seeds is None else seeds, budget=budget, recipe=recipe, name=name,
            runs_dir=runs_dir or "runs", label_column=label_column, data_dir=data_dir, offline=offline,
            **explicit_settings(settings),
        )  # fmt: skip
        return
    strangers = [one for one in contestants if one not in runs]
    if strangers:
        raise ConfigurationError(f"{strangers[0]}: not a run; give runs alone, or networks alone")
    refuse(
        "on runs that are there already", data=data, seeds=seeds, budget=budget, recipe=recipe, name=name,
        runs_dir=runs_dir, label_column=label_column, data_dir=data_dir, offline=offline, **explicit_settings(settings),
    )  # fmt: skip
    from lenext.comparison.side_by_side import compare as work

    write_out(f"{work(*contestants, out=out or 'compare.html')}\n")


def vary(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class")],
    /,
    *,
    options: Annotated[
        list[str] | None,
        Parameter(name="--option", negative="", help="KEY=V1,V2 of the constructor or the recipe; may be repeated"),
    ] = None,
    data: Data = "",
    search: Annotated[
        Literal["grid", "one", "optuna"],
        Parameter(help="all combinations; one change at a time; or sought, over KEY=LOW..HIGH too (extra `tune`)"),
    ] = "grid",
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 1); not of --search optuna")] = None,
    trials: Annotated[int | None, INTEGER, Parameter(help="of --search optuna: how many in all (default: 20)")] = None,
    database: Annotated[str, Parameter(help="of --search optuna: a URL (default: a file in its folder)")] = "",
    recipe: RecipeName = "",
    name: Name = "",
    runs_dir: RunsDir = Path("runs"),
    label_column: LabelColumn = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = SettingsWithoutSeed(),  # noqa: B008
) -> None:
    """Change a network or its recipe, option by option, and see what each change bought at what cost."""
    how: dict[str, Any] = {
        "data": data, "recipe": recipe, "name": name, "runs_dir": runs_dir, "label_column": label_column,
        "data_dir": data_dir, "offline": offline, **explicit_settings(settings),
    }  # fmt: skip
    if search == "optuna":
        refuse("on --search optuna, which trains each trial once", seeds=seeds)
        from lenext.comparison.search import seek

        seek(network, options or [], trials=20 if trials is None else trials, database=database, **how)
        return
    refuse(f"on --search {search}", trials=trials, database=database)
    from lenext.comparison.variations import vary as work

    work(network, options or [], search=search, seeds=1 if seeds is None else seeds, **how)


@app.command
def reproduce(
    which: Annotated[str, Parameter(help="one of those listed, such as D4/resnet18; without it, all are listed")] = "",
    /,
    *,
    better: Annotated[bool, Parameter(negative="", help="with our recipe, honestly, in no more epochs")] = False,
    scale: Annotated[
        float | None, Parameter(help="a share of the training images, where the whole takes too long (default: 1)")
    ] = None,
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 1)")] = None,
    name: Name = "",
    runs_dir: Annotated[Path | None, Parameter(help="where its folder goes (default: runs)")] = None,
    threads: Threads = None,
    epochs: Annotated[int | None, INTEGER, Parameter(help="fewer than published")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """The course documents' results: list them, or run one again, as published or better, and see both side by side."""
    keys = known(threads, epochs)
    if not which:
        refuse(LISTING, better=better, scale=scale, seeds=seeds, name=name, runs_dir=runs_dir, data_dir=data_dir,
               offline=offline, **keys)  # fmt: skip
        from lenext.comparison.reproduce import describe

        print_rows(describe(), False, right=("epochs",))
        return
    from lenext.comparison.reproduce import reproduce as work

    work(which, better=better, scale=1.0 if scale is None else scale, seeds=1 if seeds is None else seeds, name=name,
         runs_dir=runs_dir or "runs", data_dir=data_dir, offline=offline, **keys)  # fmt: skip


@app.command
def lesson(
    which: Annotated[str, Parameter(help="one of those listed, such as batch-norm; without it, all are listed")] = "",
    /,
    *,
    name: Name = "",
    runs_dir: Annotated[Path | None, Parameter(help="where its folder goes (default: runs)")] = None,
    epochs: Annotated[int | None, INTEGER, Parameter(help="of each training, instead of the lesson's")] = None,
    threads: Threads = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """What the course documents teach, as experiments of a minute or two: list them, or run one."""
    keys = known(threads, epochs)
    if not which:
        refuse(LISTING, name=name, runs_dir=runs_dir, data_dir=data_dir, offline=offline, **keys)
    from lenext.comparison.lessons import describe
    from lenext.comparison.lessons import lesson as work

    if not which:
        print_rows(describe(), False)
        return
    work(which, name=name, runs_dir=runs_dir or "runs", data_dir=data_dir, offline=offline, **keys)


def known(threads: int | None, epochs: int | None) -> dict[str, Any]:
    """Those that were given."""
    return {key: value for key, value in (("threads", threads), ("epochs", epochs)) if value is not None}


for verb in (compare, vary):
    verb.__annotations__["settings"] = Annotated[SettingsWithoutSeed, Parameter(name="*")]
app.command(compare)
app.command(vary)
