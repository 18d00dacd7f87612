"""`lenext show ...` and `lenext explain`: images of data, networks and runs."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from lenext.cli.app import WHOLE, DataDir, Offline, app, refuse
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.streams import write_out
from lenext.verbs import VERBS

showing = App("show", help=VERBS["show"].about)
app.command(showing)

Out = Annotated[Path | None, Parameter(help="the image (default: named after what it shows)")]
OfRun = Annotated[str, Parameter(help="a run's folder")]
ImagePath = Annotated[Path, Parameter(help="an image file")]
Network = Annotated[str, Parameter(help="of a run of your own network: FILE.py:Class, which is run")]


def write(figure: Any, out: Path | None, name: str) -> None:
    """Save the figure and say where."""
    from lenext.foundation.files import make_folder
    from lenext.reporting.figures import save_figure

    path = out or Path(f"{name}.png")
    make_folder(path.parent)
    save_figure(figure, path)
    write_out(f"{path}\n")


def whole_numbers(text: str, count: int, name: str) -> list[int]:
    """`4,5,16,16` as numbers."""
    parts = text.split(",")
    if len(parts) != count or not all(part.strip().isdigit() for part in parts):
        raise ConfigurationError(f"{name}={text}: {count} whole numbers with commas between are needed")
    return [int(part) for part in parts]


@showing.command
def data(
    data: Annotated[str, Parameter(help="a name or a path, as for train")],
    /,
    *,
    a_class: Annotated[int, WHOLE, Parameter(help="images a class")] = 8,
    augmented: Annotated[str, Parameter(help="beside them, as training with this network or recipe has them")] = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """Images of each class, before and after augmentation."""
    from lenext.workflows.prepare import find_recipe
    from lenext.workflows.show import data_grid

    recipe = find_recipe(augmented) if augmented else None
    figure = data_grid(data, a_class=a_class, recipe=recipe, data_dir=data_dir, offline=offline)
    write(figure, out, "data")


@showing.command
def channels(
    source: Annotated[str, Parameter(help="an image file, or data")],
    /,
    *,
    sample: Annotated[int | None, WHOLE, Parameter(help="of data: which one, from 0 (default: 0)")] = None,
    crop: Annotated[str, Parameter(help="TOP,LEFT,HEIGHT,WIDTH in pixels; up to 16 px the values are written in")] = "",
    size: Annotated[int | None, WHOLE, Parameter(help="pixels a side that a file is brought to (default: 224)")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """An image's channels with its pixel values, before and after normalization."""
    from lenext.workflows.show import channels as work

    corner = whole_numbers(crop, 4, "crop") if crop else ()
    write(work(source, sample=sample, crop=corner, size=size, data_dir=data_dir, offline=offline), out, "channels")


@showing.command
def filters(
    image: ImagePath,
    /,
    *,
    run: OfRun = "",
    size: Annotated[int, WHOLE, Parameter(help="pixels a side that the file is brought to")] = 224,
    network: Network = "",
    out: Out = None,
) -> None:
    """An image through hand-made filters (edges, blur, sharpen), and through those that a run has learned."""
    if not run:
        refuse("without --run", network=network)
    from lenext.workflows.show import filtered as work

    write(work(image, run, size=size, network=network), out, "filters")


@showing.command
def kernels(run: OfRun, /, *, network: Network = "", out: Out = None) -> None:
    """The filters of a run's first convolution."""
    from lenext.workflows.show import kernels as work

    write(work(run, network=network), out, "kernels")


@showing.command
def features(
    run: OfRun,
    image: ImagePath,
    /,
    *,
    layer: Annotated[str, Parameter(help="a layer's name, as in `lenext summary` (default: the last map)")] = "",
    network: Network = "",
    out: Out = None,
) -> None:
    """What the channels of a layer make of an image."""
    from lenext.workflows.show import features as work

    write(work(run, image, layer=layer, network=network), out, "features")


@showing.command
def confusion(
    run: OfRun,
    /,
    *,
    normalized: Annotated[bool, Parameter(negative="", help="per cent of the true class")] = False,
    out: Out = None,
) -> None:
    """The confusion matrix of a run's test images."""
    from lenext.workflows.show import confusion as work

    write(work(run, normalized=normalized), out, "confusion")


@showing.command
def classes(run: OfRun, /, *, out: Out = None) -> None:
    """Precision, recall and F1 by class."""
    from lenext.workflows.show import by_class as work

    write(work(run), out, "classes")


@showing.command
def reliability(run: OfRun, /, *, out: Out = None) -> None:
    """Whether a run is as sure as it is right."""
    from lenext.workflows.show import reliability as work

    write(work(run), out, "reliability")


@showing.command
def curves(*runs: OfRun, out: Out = None) -> None:
    """The curves of several runs over each other."""
    from lenext.workflows.show import curves as work

    if not runs:
        raise ConfigurationError("curves of what? Give one or more runs")
    write(work(*runs), out, "curves")


@showing.command
def embedding(
    run: OfRun,
    /,
    *,
    method: Annotated[Literal["pca", "tsne"], Parameter(help="how the features become two")] = "pca",
    network: Network = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """The test images as points, by what the network makes of them before its last layer."""
    from lenext.workflows.show import embedding as work

    write(work(run, method=method, network=network, data_dir=data_dir, offline=offline), out, "embedding")


@showing.command
def field(
    network: Annotated[str, Parameter(help="a name (lenext list models)")],
    image: ImagePath,
    /,
    *,
    image_size: Annotated[int | None, WHOLE, Parameter(help="pixels a side (default: what it is made for)")] = None,
    out: Out = None,
) -> None:
    """The receptive fields of a network's stages, drawn on an image."""
    from lenext.workflows.show import receptive_fields as work

    write(work(network, image, image_size=image_size), out, "field")


@app.command
def explain(
    run: OfRun,
    /,
    *images: Annotated[str, Parameter(help="figures: files, folders, globs")],
    layer: Annotated[str, Parameter(help="that Grad-CAM looks at (default: the last map)")] = "",
    network: Network = "",
    out: Out = None,
) -> None:
    """What a run's answers for your images hang on: saliency, Grad-CAM, occlusion."""
    from lenext.workflows.show import explained as work

    write(work(run, *images, layer=layer, network=network), out, "explained")
