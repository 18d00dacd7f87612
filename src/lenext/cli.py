"""The verbs of the command line: each parses, calls its workflow and prints. Options come from the Recipe.

torch is imported only by the verbs that compute, once their options are known to be right.
"""

import dataclasses
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from lenext import __version__
from lenext.data import DATASETS
from lenext.foundation.errors import ConfigurationError, LenextError, unknown
from lenext.foundation.files import cache_folder, write_atomic
from lenext.foundation.settings import Device, OnBadImage, Precision
from lenext.reporting.tables import bytes_spoken, show, show_json, show_table
from lenext.training.recipe import Recipe
from lenext.verbs import VERBS

if TYPE_CHECKING:
    from lenext.inspection.summary import Summary

app = App(
    "lenext",
    version=__version__,
    help_flags=["--help", "-h"],
    version_flags=["--version"],
    default_parameter=Parameter(show_default=lambda value: None if value in ("", None, False) else str(value)),
)


def optional_settings() -> Any:
    """The Recipe's keys as options, each None where it is not given, so that `not given` differs from the default."""
    hints = get_type_hints(Recipe)
    made, groups = [], list(dict.fromkeys(one.metadata["group"] for one in dataclasses.fields(Recipe)))
    for one in dataclasses.fields(Recipe):
        about = one.metadata["about"]
        if one.default != "auto" and "auto" not in about:
            about = f"{about} (default: {str(one.default).lower() if isinstance(one.default, bool) else one.default})"
        note = Parameter(
            help=about, group=Group(one.metadata["group"], sort_key=1 + groups.index(one.metadata["group"]))
        )
        made.append((one.name, Annotated[hints[one.name] | None, note], dataclasses.field(default=None)))
    settings = dataclasses.make_dataclass("Settings", made, frozen=True)
    settings.__module__ = __name__  # cyclopts takes a class of module `types` for a plain value
    return settings


Settings = optional_settings()
DataDir = Annotated[Path | None, Parameter(help="where published data lie or are put (default: $LENEXT_DATA)")]
Offline = Annotated[bool, Parameter(negative="", help="never touch the network")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="print JSON")]


def train(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class (default: lenet)")] = "",
    /,
    *,
    data: Annotated[str, Parameter(help="a name or a path: folder, CSV, pickle, IDX, CIFAR-10 (default: digits)")] = "",
    recipe: Annotated[str, Parameter(help="a name (lenext list recipes) or a YAML file, such as a run's")] = "",
    name: Annotated[str, Parameter(help="the run's name (default: NETWORK-DATA, next free number)")] = "",
    runs_dir: Annotated[Path, Parameter(help="where runs go")] = Path("runs"),
    option: Annotated[
        list[str] | None,
        Parameter(help="of the network, KEY=VALUE, e.g. activation=tanh; may be repeated", negative=""),
    ] = None,
    pretrained: Annotated[bool, Parameter(negative="", help="begin with the published ImageNet weights")] = False,
    weights: Annotated[str, Parameter(help="begin with these weights: a .pt, .pth or .safetensors file")] = "",
    freeze: Annotated[
        str, Parameter(help="parts not to learn, comma-separated; backbone: all but the last layer")
    ] = "",
    test_data: Annotated[str, Parameter(help="a separate test set, e.g. a second CSV")] = "",
    label_column: Annotated[str, Parameter(help="a CSV's column of labels: a name, or a number from 0")] = "",
    on_bad_image: Annotated[
        OnBadImage | None, Parameter(help="a broken picture stops everything, or is left out")
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    settings: Annotated[Any, Parameter(name="*")] = Settings(),  # noqa: B008
) -> None:
    """Train a network on data and leave a run: weights, curves, confusion matrix, predictions.

    A setting given here wins over --recipe, that over the network's own recipe, that over the defaults below.
    """
    options = dict(pair(text) for text in option or [])
    given = {key: value for key, value in vars(settings).items() if value is not None}
    from lenext.workflows.train import train as work

    work(
        network,
        data,
        recipe=recipe,
        name=name,
        runs_dir=runs_dir,
        options=options,
        pretrained=pretrained or weights,
        freeze=freeze,
        test_data=test_data,
        label_column=label_column,
        on_bad_image=on_bad_image or "",
        data_dir=data_dir,
        offline=offline,
        **given,
    )


train.__annotations__["settings"] = Annotated[Settings, Parameter(name="*")]
app.command(train)


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"--option {text}: KEY=VALUE is needed, e.g. activation=tanh")
    return key, value


@app.command
def val(
    run: Annotated[Path, Parameter(help="a run's folder")],
    /,
    *,
    split: Annotated[
        Literal["train", "validation", "test"], Parameter(help="of the run's data; reading test is counted")
    ] = "validation",
    data: Annotated[str, Parameter(help="other data instead; classes are matched by name")] = "",
    weights: Annotated[Literal["best", "last"], Parameter(help="which of the run's weights")] = "best",
    network: Annotated[str, Parameter(help="of weights of your own network: FILE.py:Class, which is run")] = "",
    device: Annotated[Device, Parameter(help="where to compute")] = "auto",
    precision: Annotated[Precision, Parameter(help="of the arithmetic")] = "auto",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Measure a run on its validation pictures."""
    from lenext.workflows.use import val as work

    work(
        run, split=split, data=data, which=weights, network=network, device=device, precision=precision,
        data_dir=data_dir, offline=offline,
    )  # fmt: skip


@app.command
def predict(
    run: Annotated[Path, Parameter(help="a run's folder, a .safetensors file of its weights, or a network's name")],
    pictures: Annotated[list[str], Parameter(help="files, folders, globs", negative="")],
    /,
    *,
    pretrained: Annotated[bool, Parameter(negative="", help="of a network by name: its published weights")] = False,
    top: Annotated[int, Parameter(help="how many classes a picture")] = 1,
    format: Annotated[Literal["table", "csv", "json"], Parameter(help="how to print")] = "table",
    weights: Annotated[Literal["best", "last"], Parameter(help="which of the run's weights")] = "best",
    on_bad_image: Annotated[
        OnBadImage, Parameter(help="a broken picture stops everything, or is told and left out")
    ] = "stop",
    network: Annotated[str, Parameter(help="of weights of your own network: FILE.py:Class, which is run")] = "",
    device: Annotated[Device, Parameter(help="where to compute")] = "auto",
    precision: Annotated[Precision, Parameter(help="of the arithmetic")] = "auto",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """The most probable classes of your pictures."""
    from lenext.workflows.use import predict as work

    found = work(
        run, *pictures, top=top, which=weights, network=network, pretrained=pretrained, on_bad_image=on_bad_image,
        device=device, precision=precision, data_dir=data_dir, offline=offline,
    )  # fmt: skip
    rows = [one for one in found if not isinstance(one, LenextError)]
    for one in found:
        if isinstance(one, LenextError):
            sys.stderr.write(f"left out: {one}\n")
    if format == "json":
        show_json([dataclasses.asdict(row) for row in rows])
        return
    if format == "csv":
        import csv

        ranks = max((len(row.classes) for row in rows), default=1)
        words = [
            (f"class_{rank}", f"probability_{rank}") if rank > 1 else ("class", "probability")
            for rank in range(1, ranks + 1)
        ]
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["picture", *(word for pair in words for word in pair)])
        for row in rows:
            answers = zip(row.classes, row.probabilities, strict=True)
            writer.writerow([row.path, *(cell for name, share in answers for cell in (name, f"{share:.4f}"))])
        return
    here = os.path.commonpath([os.path.dirname(row.path) for row in rows]) if len(rows) > 1 else ""
    show(
        [
            {
                "picture": os.path.relpath(row.path, here) if here else row.path,
                "most probable": ", ".join(f"{c} {p:.1%}" for c, p in zip(row.classes, row.probabilities, strict=True)),
            }
            for row in rows
        ],
        False,
    )


@app.command
def summary(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class")],
    /,
    *,
    by: Annotated[Literal["layer", "block", "stage"], Parameter(help="how far to fold the table")] = "layer",
    against: Annotated[str, Parameter(help="another network: print where the two differ")] = "",
    image_size: Annotated[int | None, Parameter(help="pixels a side (default: what it is made for)")] = None,
    channels: Annotated[int | None, Parameter(help="of the pictures (default: the network's own)")] = None,
    classes: Annotated[int | None, Parameter(help="to tell apart (default: the network's own)")] = None,
    option: Annotated[
        list[str] | None, Parameter(help="of the network, KEY=VALUE; may be repeated", negative="")
    ] = None,
    json: AsJson = False,
) -> None:
    """A network's layers: output shapes, parameters, multiply-adds, memory and receptive field, for one picture."""
    from lenext.workflows.describe import differences, summarize_named

    found = summarize_named(network, dict(pair(text) for text in option or []), image_size, channels, classes)
    if against:
        other = summarize_named(against, {}, image_size, channels, classes)
        rows = differences(found, other)
        if json:
            show_json(rows)
        else:
            show(rows, False)
            totals(found)
            totals(other)
        return
    if json:
        show_json(dataclasses.asdict(found))
        return
    layers = {"layer": found.layers, "block": found.blocks(), "stage": found.stages()}[by]
    rows = [
        {
            by: layer.name,
            "type": layer.kind,
            "output": " x ".join(map(str, layer.output_shape)),
            "parameters": layer.parameters or "",
            "mult-adds": layer.multiply_adds or "",
            "train": bytes_spoken(layer.training_bytes),
            "eval": bytes_spoken(layer.evaluation_bytes),
            "field": layer.receptive_field,
            "stride": layer.stride,
        }
        for layer in layers
        if layer.kind != "Identity"
    ]
    show(rows, False, right=["parameters", "mult-adds", "train", "eval", "field", "stride"])
    totals(found)


def totals(found: "Summary") -> None:
    """The lines under a summary."""
    frozen = f" ({found.parameters - found.trainable:,} frozen)" if found.trainable < found.parameters else ""
    shape = " x ".join(map(str, found.input_shape))
    layers = f"{found.convolutions} convolutions and {found.dense} dense" if found.dense else "all convolutions"
    train, evaluation = bytes_spoken(found.training_bytes), bytes_spoken(found.evaluation_bytes)
    sys.stdout.write(
        f"\n{found.network} on a picture of {shape}: {found.parameters:,} parameters{frozen}, "
        f"{found.multiply_adds:,} multiply-adds\n"
        f"{found.convolutions + found.dense} weighted layers on the longest way: {layers}\n"
        f"activations: {train} kept in training, {evaluation} at most in evaluation\n"
    )


MOST_SQUARES = 64


@app.command
def diagram(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class")],
    /,
    *,
    against: Annotated[str, Parameter(help="another network, to stand beside it")] = "",
    block: Annotated[str, Parameter(help="one part alone, by its name in summary, e.g. layer2.0")] = "",
    image_size: Annotated[int | None, Parameter(help="pixels a side (default: what it is made for)")] = None,
    channels: Annotated[int | None, Parameter(help="of the pictures (default: the network's own)")] = None,
    option: Annotated[
        list[str] | None, Parameter(help="of the network, KEY=VALUE; may be repeated", negative="")
    ] = None,
    out: Annotated[Path | None, Parameter(help="the SVG file (default: NETWORK.svg)")] = None,
) -> None:
    """A network, or one block of it, as an SVG picture drawn from the network itself."""
    from lenext.workflows.describe import diagram_of

    options = dict(pair(text) for text in option or [])
    networks = [network, against] if against else [network]
    text = diagram_of(networks, options, block, image_size, channels)
    path = out or Path("-".join(one.rpartition(":")[2] for one in networks) + ".svg")
    write_atomic(path, text)
    sys.stdout.write(f"{path}\n")


@app.command
def arithmetic(
    *,
    size: Annotated[int, Parameter(name=["--in", "--size"], help="pixels a side that go in")],
    kernel: Annotated[int, Parameter(help="pixels a side of the kernel or pooling window")],
    stride: Annotated[int, Parameter(help="pixels between steps")] = 1,
    padding: Annotated[int, Parameter(help="pixels added at each side")] = 0,
    dilation: Annotated[int, Parameter(help="pixels between the kernel's own")] = 1,
    out: Annotated[Path | None, Parameter(help="also draw the first steps into this PNG")] = None,
    json: AsJson = False,
) -> None:
    """The output size of a convolution or pooling, with a picture of what the kernel touches."""
    from lenext.inspection.arithmetic import Arithmetic

    found = Arithmetic(size, kernel, stride, padding, dilation)
    if out:
        from lenext.reporting.figures import save_figure, steps

        if found.size + 2 * found.padding > MOST_SQUARES:
            raise ConfigurationError(
                f"size={found.size}: more than {MOST_SQUARES} pixels a side are no picture to read"
            )
        save_figure(steps(found), out)
    if json:
        show_json(dataclasses.asdict(found) | {"output": found.output, "span": found.span, "unused": found.unused})
        return
    rest = f"; {found.unused} at the far end are never touched" if found.unused else ""
    sys.stdout.write(f"output size {found.output}: {found.formula()}\nthe kernel spans {found.span} pixels{rest}\n\n")
    sys.stdout.write(f"{found.picture()}\n\n.  pixel   o  padding   #, 0  touched by the kernel\n")


listing = App("list", help=VERBS["list"])
app.command(listing)


@listing.command
def models(*, json: AsJson = False) -> None:
    """The networks: family, parameters, the pictures they are made for, source."""
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
def runs(*, runs_dir: Annotated[Path, Parameter(help="where runs are")] = Path("runs"), json: AsJson = False) -> None:
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


def run(arguments: list[str]) -> int:
    """Parse and run; the user's mistakes become one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class may have a name that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    if arguments[0] not in VERBS and arguments[0] != "--version":
        return fail(unknown("verb", arguments[0], VERBS, "`lenext --help` lists them"))
    if arguments == ["list"]:
        return fail("list what? Give models, datasets, recipes or runs")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except UnknownCommandError:
        return fail(
            f"{arguments[0]}: {unknown('thing to list', arguments[1], ['models', 'datasets', 'recipes', 'runs'])}"
        )
    except CycloptsError as error:
        return fail(f"{' '.join(str(error).split())} (lenext {arguments[0]} --help tells the options)")
    except LenextError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return 130
    except BrokenPipeError:  # before OSError, of which it is one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error) or "out of memory" in str(error):
            return fail("out of memory; give a smaller --batch-size or --image-size")
        raise
    except OSError as error:
        return fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    return 0


def fail(message: str) -> int:
    sys.stderr.write(f"lenext: {message}\n")
    return 2
