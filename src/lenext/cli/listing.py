"""`lenext list` and `checks`: what there is."""

from pathlib import Path

from cyclopts import App

from lenext.cli.app import AsJson, DataDir, RunsDir, app
from lenext.data import DATASETS
from lenext.foundation.files import cache_folder
from lenext.reporting.tables import show, show_json, show_table
from lenext.verbs import VERBS

listing = App("list", help=VERBS["list"].about)
app.command(listing)


@listing.command
def models(*, json: AsJson = False) -> None:
    """The networks: family, parameters, the images they are made for, source."""
    from lenext.workflows.describe import describe_models

    show(describe_models(), json, right=["parameters", "input"])


@listing.command
def datasets(*, data_dir: DataDir = None, json: AsJson = False) -> None:
    """The data sets known by name, and where they lie."""
    from lenext.workflows.machine import data_found

    found = data_found(data_dir or cache_folder())
    show([{"name": name, "about": entry.about, "where": found[name]} for name, entry in DATASETS.items()], json)


@listing.command
def recipes(*, json: AsJson = False) -> None:
    """The recipes known by name, and what they set."""
    from lenext.training.recipes import ABOUT, RECIPES

    if json:
        show_json([{"name": name, "about": ABOUT[name], "recipe": keys} for name, keys in RECIPES.items()])
        return
    rows = [[name, ABOUT[name], " ".join(f"{k}={v}" for k, v in keys.items())] for name, keys in RECIPES.items()]
    show_table(["name", "about", "sets"], rows)


@listing.command
def runs(*, runs_dir: RunsDir = Path("runs"), json: AsJson = False) -> None:
    """The runs there are, the newest last, with their accuracies."""
    from lenext.workflows.describe import describe_runs

    show(describe_runs(runs_dir), json, right=["epochs", "validation", "test"])


@app.command
def checks(*, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Versions, device, precision, threads and the data found on this machine."""
    from lenext.workflows.machine import checks as work

    facts = work(data_dir)
    if json:
        show_json(facts)
    else:
        show_table(["what", "here"], [[name, value] for name, value in facts.items()])
