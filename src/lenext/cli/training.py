"""`lenext train`, `resume` and `lr-find`; the recipe's keys are options of train and lr-find."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lenext.cli.app import (
    INTEGER,
    DataDir,
    Offline,
    Options,
    Processes,
    UserNetwork,
    app,
    in_processes,
    parse_pairs,
    refuse,
)
from lenext.cli.settings import RangeTestSettings, Settings, explicit_settings, takes_settings
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import OnBadImage


@takes_settings(Settings)
def train(
    network: Annotated[str, Parameter(help="Name (lenext list models) or FILE.py:Class (default: lenet).")] = "",
    /,
    *,
    data: Annotated[str, Parameter(help="Name or path: folder, CSV, pickle, IDX, CIFAR-10 (default: digits).")] = "",
    recipe: Annotated[str, Parameter(help="Name (lenext list recipes) or YAML file, such as a run's.")] = "",
    name: Annotated[str, Parameter(help="Name of the run (default: NETWORK-DATA, next free number).")] = "",
    runs_dir: Annotated[Path, Parameter(help="Folder of the runs.")] = Path("runs"),
    options: Options = None,
    pretrained: Annotated[bool, Parameter(negative="", help="Start from the published ImageNet weights.")] = False,
    weights: Annotated[str, Parameter(help="Start from the weights in this .pt, .pth or .safetensors file.")] = "",
    freeze: Annotated[
        str, Parameter(help="Freeze these parts, comma-separated; backbone: all but the last layer.")
    ] = "",
    test_data: Annotated[str, Parameter(help="Separate test set, e.g. a second CSV.")] = "",
    label_column: Annotated[str, Parameter(help="Column of labels of a CSV: its name, or its number from 0.")] = "",
    on_bad_image: Annotated[
        OnBadImage | None, Parameter(help="Stop at a broken image, or skip it (default: stop).")
    ] = None,
    corrections: Annotated[
        str, Parameter(help="CSV of decisions about samples (split,sample,decision,label): keep, relabel or drop.")
    ] = "",
    dry_run: Annotated[
        bool,
        Parameter(negative="", help="Check data, network and recipe, and print the plan with its time; do not train."),
    ] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="Print the plan of --dry-run as JSON.")] = False,
    processes: Processes = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = Settings(),  # noqa: B008
) -> None:
    """Train a network and write a run folder: weights, curves, confusion matrix, predictions, a report.

    Options override --recipe, which overrides the network's own recipe, which overrides the defaults below.
    """
    if pretrained and weights:
        raise ConfigurationError("--pretrained and --weights both set the initial weights; give one of them")
    if dry_run:
        refuse("with --dry-run", processes=processes)
    else:
        refuse("without --dry-run", json=json)
    if processes is not None:
        in_processes(processes)
        return
    outer: dict[str, Any] = {
        "options": parse_pairs(options),
        "freeze": freeze,
        "test_data": test_data,
        "label_column": label_column,
        "on_bad_image": on_bad_image or "",
        "corrections": corrections,
    }
    places: dict[str, Any] = {
        "recipe": recipe, "name": name, "runs_dir": runs_dir, "data_dir": data_dir, "offline": offline,
    }  # fmt: skip
    keys = explicit_settings(settings)
    if dry_run:
        print_plan(network, data, outer | {"pretrained": "imagenet" if pretrained else weights}, places, keys, json)
        return
    from lenext.workflows.train import train as work

    work(network, data, pretrained=pretrained or weights, **outer, **places, **keys)


def print_plan(
    network: str, data: str, outer: dict[str, Any], places: dict[str, Any], settings: dict[str, Any], as_json: bool
) -> None:
    """Print what a training would do."""
    from lenext.reporting.console import Console
    from lenext.reporting.tables import print_json
    from lenext.workflows.plan import plan

    training = plan(network, data, outer=outer, **places, **settings)
    if as_json:
        print_json({"plan": training.facts, "notes": training.notes})
        return
    console = Console()
    console.print_facts(training.facts)
    for note in training.notes:
        console.print(f"note: {note}")


@app.command
def resume(
    run: Annotated[str, Parameter(help="Folder of the run.")],
    /,
    *,
    epochs: Annotated[int | None, INTEGER, Parameter(help="Total number of epochs, more than in its recipe.")] = None,
    processes: Processes = None,
    network: UserNetwork = "",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Continue a run exactly where it was stopped or killed, or train it for more epochs.

    To start a new training from its weights, use `lenext train NETWORK --weights RUN/weights/best.safetensors`.
    """
    if processes is not None:
        in_processes(processes)
        return
    from lenext.workflows.resume import resume as work

    work(run, epochs=epochs, network=network, data_dir=data_dir, offline=offline)


@takes_settings(RangeTestSettings)
def lr_find(
    network: Annotated[str, Parameter(help="Name (lenext list models) or FILE.py:Class (default: lenet).")] = "",
    /,
    *,
    data: Annotated[str, Parameter(help="Name or path, as for train (default: digits).")] = "",
    recipe: Annotated[str, Parameter(help="Name (lenext list recipes) or YAML file.")] = "",
    options: Options = None,
    label_column: Annotated[str, Parameter(help="Column of labels of a CSV: its name, or its number from 0.")] = "",
    out: Annotated[Path, Parameter(help="File of the plot.")] = Path("learning_rate.png"),
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = RangeTestSettings(),  # noqa: B008
) -> None:
    """Suggest a learning rate: train a copy of the network with rising rates and plot the losses (range test)."""
    from lenext.workflows.rates import lr_find as work

    work(
        network, data, recipe=recipe, options=parse_pairs(options), label_column=label_column, out=out,
        data_dir=data_dir, offline=offline, **explicit_settings(settings),
    )  # fmt: skip
