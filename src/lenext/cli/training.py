"""`lenext train`: its options come from the Recipe."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lenext.cli.app import WHOLE, DataDir, Offline, Options, app, pairs
from lenext.cli.settings import OfFewSteps, Settings, given
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import OnBadImage


def train(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class (default: lenet)")] = "",
    /,
    *,
    data: Annotated[str, Parameter(help="a name or a path: folder, CSV, pickle, IDX, CIFAR-10 (default: digits)")] = "",
    recipe: Annotated[str, Parameter(help="a name (lenext list recipes) or a YAML file, such as a run's")] = "",
    name: Annotated[str, Parameter(help="the run's name (default: NETWORK-DATA, next free number)")] = "",
    runs_dir: Annotated[Path, Parameter(help="where runs go")] = Path("runs"),
    options: Options = None,
    pretrained: Annotated[bool, Parameter(negative="", help="begin with the published ImageNet weights")] = False,
    weights: Annotated[str, Parameter(help="begin with these weights: a .pt, .pth or .safetensors file")] = "",
    freeze: Annotated[
        str, Parameter(help="parts not to learn, comma-separated; backbone: all but the last layer")
    ] = "",
    test_data: Annotated[str, Parameter(help="a separate test set, e.g. a second CSV")] = "",
    label_column: Annotated[str, Parameter(help="a CSV's column of labels: a name, or a number from 0")] = "",
    on_bad_image: Annotated[
        OnBadImage | None, Parameter(help="a broken image stops everything, or is left out")
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = Settings(),  # noqa: B008
) -> None:
    """Train a network on data and leave a run: weights, curves, confusion matrix, predictions.

    A setting given here wins over --recipe, that over the network's own recipe, that over the defaults below.
    """
    if pretrained and weights:
        raise ConfigurationError("--pretrained and --weights both say what to begin with; give one of them")
    from lenext.workflows.train import train as work

    work(
        network,
        data,
        recipe=recipe,
        name=name,
        runs_dir=runs_dir,
        options=pairs(options),
        pretrained=pretrained or weights,
        freeze=freeze,
        test_data=test_data,
        label_column=label_column,
        on_bad_image=on_bad_image or "",
        data_dir=data_dir,
        offline=offline,
        **given(settings),
    )


def resume(
    run: Annotated[str, Parameter(help="a run's folder")],
    /,
    *,
    epochs: Annotated[int | None, WHOLE, Parameter(help="so many in all, more than its recipe says")] = None,
    network: Annotated[str, Parameter(help="of a run of your own network: FILE.py:Class, which is run")] = "",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Go on with a run exactly where it was stopped or killed, or give it more epochs.

    To begin anew from trained weights, `lenext train NETWORK --weights RUN/weights/best.safetensors` fine-tunes them.
    """
    from lenext.workflows.resume import resume as work

    work(run, epochs=epochs, network=network, data_dir=data_dir, offline=offline)


def lr_find(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class (default: lenet)")] = "",
    /,
    *,
    data: Annotated[str, Parameter(help="a name or a path, as for train (default: digits)")] = "",
    recipe: Annotated[str, Parameter(help="a name (lenext list recipes) or a YAML file")] = "",
    options: Options = None,
    label_column: Annotated[str, Parameter(help="a CSV's column of labels: a name, or a number from 0")] = "",
    out: Annotated[Path, Parameter(help="the image")] = Path("learning_rate.png"),
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = OfFewSteps(),  # noqa: B008
) -> None:
    """Try rising learning rates on a copy of the network, and suggest one."""
    from lenext.workflows.rates import lr_find as work

    work(
        network, data, recipe=recipe, options=pairs(options), label_column=label_column, out=out, data_dir=data_dir,
        offline=offline, **given(settings),
    )  # fmt: skip


for verb, keys in ((train, Settings), (lr_find, OfFewSteps)):
    verb.__annotations__["settings"] = Annotated[keys, Parameter(name="*")]
app.command(train)
app.command(resume)
app.command(lr_find, name="lr-find")
