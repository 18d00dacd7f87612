"""`lenext compare`: runs side by side, or a race of networks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, app, refuse
from lenext.cli.settings import SettingsWithoutSeed, explicit_settings, takes_settings
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import expand_path
from lenext.foundation.streams import write_out
from lenext.reporting.tables import print_rows

SEEDS = "Trainings of each, with the seeds 0, 1, ..."
ON_LIST = "on the list"
Data = Annotated[str, Parameter(help="A name or a path, as for train (default: that of --recipe, else digits).")]
RunsDir = Annotated[Path | None, Parameter(help="Folder in which the comparison gets its own (default: runs).")]
Name = Annotated[str, Parameter(help="Name of its folder (default: that of the same request, else a new one).")]
Threads = Annotated[int | None, INTEGER, Parameter(help="CPU threads.")]
RecipeName = Annotated[str, Parameter(help="Recipe for all: a name (lenext list recipes) or a YAML file.")]
LabelColumn = Annotated[str, Parameter(help="Column of a CSV with the labels: a name, or a number from 0.")]


@takes_settings(SettingsWithoutSeed)
def compare(
    *contestants: Annotated[str, Parameter(help="Two or more networks (names, FILE.py:Class), or folders of runs.")],
    data: Data = "",
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 3).")] = None,
    budget: Annotated[
        str, Parameter(help="Budget of each training: a time (90s, 5m, 1h) or multiply-adds (30T, 2P).")
    ] = "",
    recipe: RecipeName = "",
    name: Name = "",
    runs_dir: RunsDir = None,
    label_column: LabelColumn = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Annotated[Path | None, Parameter(help="Page of runs side by side (default: compare.html).")] = None,
    settings: Any = SettingsWithoutSeed(),  # noqa: B008
) -> None:
    """Race networks on the same data, or put finished runs on one page.

    In a race all have the same split, order, augmentation and budget, over several seeds.
    """
    runs = [contestant for contestant in contestants if (expand_path(contestant) / "recipe.yaml").is_file()]
    if not runs:
        refuse("on a race, whose page lies in its folder", out=out)
        from lenext.comparison.race import race

        race(
            *contestants, data=data, seeds=3 if seeds is None else seeds, budget=budget, recipe=recipe, name=name,
            runs_dir=runs_dir or "runs", label_column=label_column, data_dir=data_dir, offline=offline,
            **explicit_settings(settings),
        )  # fmt: skip
        return
    networks = [contestant for contestant in contestants if contestant not in runs]
    if networks:
        raise ConfigurationError(f"{networks[0]}: not a run; give runs alone, or networks alone")
    refuse(
        "on finished runs", data=data, seeds=seeds, budget=budget, recipe=recipe, name=name,
        runs_dir=runs_dir, label_column=label_column, data_dir=data_dir, offline=offline, **explicit_settings(settings),
    )  # fmt: skip
    from lenext.workflows.side_by_side import compare as work

    write_out(f"{work(*contestants, out=out or 'compare.html')}\n")


@takes_settings(SettingsWithoutSeed)
def vary(
    network: Annotated[str, Parameter(help="A name (lenext list models) or FILE.py:Class.")],
    /,
    *,
    options: Annotated[
        list[str] | None,
        Parameter(name="--option", negative="", help="KEY=V1,V2 of the constructor or the recipe; may be repeated."),
    ] = None,
    data: Data = "",
    search: Annotated[
        Literal["grid", "one", "optuna"],
        Parameter(help="All combinations, one change at a time, or Optuna, over KEY=LOW..HIGH too (extra `tune`)."),
    ] = "grid",
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 1); not with --search optuna.")] = None,
    trials: Annotated[int | None, INTEGER, Parameter(help="Trials of --search optuna in all (default: 20).")] = None,
    database: Annotated[
        str, Parameter(help="Database of --search optuna, a URL (default: a file in its folder).")
    ] = "",
    recipe: RecipeName = "",
    name: Name = "",
    runs_dir: RunsDir = None,
    label_column: LabelColumn = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Any = SettingsWithoutSeed(),  # noqa: B008
) -> None:
    """Change a network or its recipe, option by option, and see what each change gains and costs."""
    if search == "optuna":
        refuse("on --search optuna, which trains each trial once", seeds=seeds)
    else:
        refuse(f"on --search {search}", trials=trials, database=database)
    from lenext.comparison.vary import vary as work

    work(
        network, options or [], data=data, search=search, seeds=1 if seeds is None else seeds,
        trials=20 if trials is None else trials, database=database, recipe=recipe, name=name,
        runs_dir=runs_dir or "runs", label_column=label_column, data_dir=data_dir, offline=offline,
        **explicit_settings(settings),
    )  # fmt: skip


@app.command
def reproduce(
    result: Annotated[str, Parameter(help="A published result, such as D4/resnet18; without it, all are listed.")] = "",
    /,
    *,
    better: Annotated[bool, Parameter(negative="", help="Use our recipe, honestly, in no more epochs.")] = False,
    scale: Annotated[
        float | None, Parameter(help="Fraction of the training images, if all take too long (default: 1).")
    ] = None,
    seeds: Annotated[int | None, INTEGER, Parameter(help=f"{SEEDS} (default: 1).")] = None,
    name: Name = "",
    runs_dir: RunsDir = None,
    threads: Threads = None,
    epochs: Annotated[int | None, INTEGER, Parameter(help="Fewer epochs than published.")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """List what the course documents published, or run a result again, as published or better."""
    if not result:
        refuse(ON_LIST, better=better, scale=scale, seeds=seeds, name=name, runs_dir=runs_dir, data_dir=data_dir,
               offline=offline, threads=threads, epochs=epochs)  # fmt: skip
    from lenext.course.reproduce import list_published
    from lenext.course.reproduce import reproduce as work

    if not result:
        print_rows(list_published(), False, right=("epochs",))
        return
    work(result, better=better, scale=1.0 if scale is None else scale, seeds=1 if seeds is None else seeds, name=name,
         runs_dir=runs_dir or "runs", data_dir=data_dir, offline=offline,
         **without_none(threads=threads, epochs=epochs))  # fmt: skip


@app.command
def lesson(
    lesson_name: Annotated[str, Parameter(help="A lesson, such as batch-norm; without it, all are listed.")] = "",
    /,
    *,
    name: Name = "",
    runs_dir: RunsDir = None,
    epochs: Annotated[int | None, INTEGER, Parameter(help="Epochs of each training, instead of the lesson's.")] = None,
    threads: Threads = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """List the claims of the course documents that can be tested in a minute or two, or test one."""
    if not lesson_name:
        refuse(ON_LIST, name=name, runs_dir=runs_dir, data_dir=data_dir, offline=offline, threads=threads,
               epochs=epochs)  # fmt: skip
    from lenext.course.lessons import lesson as work
    from lenext.course.lessons import list_lessons

    if not lesson_name:
        print_rows(list_lessons(), False)
        return
    work(lesson_name, name=name, runs_dir=runs_dir or "runs", data_dir=data_dir, offline=offline,
         **without_none(threads=threads, epochs=epochs))  # fmt: skip


def without_none(**settings: int | None) -> dict[str, Any]:
    """Return the settings that are set."""
    return {key: value for key, value in settings.items() if value is not None}
