"""`lenext list` and `checks`: the available networks, data, recipes and runs, and this machine."""

from pathlib import Path

from cyclopts import App

from lenext.cli.app import AsJson, DataDir, RunsDir, app
from lenext.data import DATASETS
from lenext.foundation.files import cache_folder
from lenext.reporting.tables import print_json, print_rows, print_table
from lenext.verbs import VERBS

listing = App("list", help=VERBS["list"].about)
app.command(listing)


@listing.command
def models(*, json: AsJson = False) -> None:
    """The networks: family, parameters, design size, source."""
    from lenext.workflows.listing import list_models

    print_rows(list_models(), json, right=["parameters", "input"])


@listing.command
def datasets(*, data_dir: DataDir = None, json: AsJson = False) -> None:
    """The datasets with a name, and where they are stored."""
    from lenext.workflows.machine import locate_datasets

    places = locate_datasets(data_dir or cache_folder())
    rows = [{"name": name, "about": entry.about, "where": places[name]} for name, entry in DATASETS.items()]
    print_rows(rows, json)


@listing.command
def recipes(*, json: AsJson = False) -> None:
    """The recipes with a name, and what they set."""
    from lenext.training.recipes import ABOUT, RECIPES

    if json:
        print_json([{"name": name, "about": ABOUT[name], "recipe": keys} for name, keys in RECIPES.items()])
        return
    rows = [[name, ABOUT[name], " ".join(f"{k}={v}" for k, v in keys.items())] for name, keys in RECIPES.items()]
    print_table(["name", "about", "sets"], rows)


@listing.command
def runs(*, runs_dir: RunsDir = Path("runs"), json: AsJson = False) -> None:
    """The runs of a folder with their accuracies, the newest last."""
    from lenext.workflows.listing import list_runs

    print_rows(list_runs(runs_dir), json, right=["epochs", "validation", "test"])


@app.command
def checks(*, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Versions, device, precision, threads and the data on this machine."""
    from lenext.workflows.machine import checks as check_machine

    facts = check_machine(data_dir)
    if json:
        print_json(facts)
    else:
        print_table(["environment", "value"], [[name, value] for name, value in facts.items()])
