"""`lenext show ...` and `lenext explain`: figures of data, networks and runs, written as PNG."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, app, refuse
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.streams import write_out
from lenext.verbs import VERBS

showing = App("show", help=VERBS["show"].about)
app.command(showing)

Out = Annotated[Path | None, Parameter(help="the PNG file (default: named after what it shows)")]
RunFolder = Annotated[str, Parameter(help="a run's folder")]
ImagePath = Annotated[Path, Parameter(help="an image file")]
Network = Annotated[
    str, Parameter(help="the network of a run whose network is user-defined: FILE.py:Class, whose code is run")
]


def write_figure(figure: Any, out: Path | None, name: str) -> None:
    """Save a figure and print its path."""
    from lenext.foundation.files import make_folder
    from lenext.reporting.figures.canvas import save_figure

    path = out or Path(f"{name}.png")
    make_folder(path.parent)
    save_figure(figure, path)
    write_out(f"{path}\n")


def parse_numbers(text: str, count: int, name: str) -> list[int]:
    """Parse `count` whole numbers separated by commas, such as `4,5,16,16`."""
    parts = text.split(",")
    if len(parts) != count or not all(part.strip().isdigit() for part in parts):
        raise ConfigurationError(f"{name}={text}: give {count} whole numbers separated by commas")
    return [int(part) for part in parts]


@showing.command
def data(
    data: Annotated[str, Parameter(help="a name or a path, as for train")],
    /,
    *,
    per_class: Annotated[int, INTEGER, Parameter(help="images per class")] = 8,
    augmented: Annotated[
        str, Parameter(help="draw the images again, augmented as training with this network or recipe does")
    ] = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """Images of each class, before and after augmentation."""
    from lenext.workflows import show

    figure = show.data(data, per_class=per_class, augmented=augmented, data_dir=data_dir, offline=offline)
    write_figure(figure, out, "data")


@showing.command
def channels(
    source: Annotated[str, Parameter(help="an image file, or data")],
    /,
    *,
    sample: Annotated[int | None, INTEGER, Parameter(help="which sample of the data, from 0 (default: 0)")] = None,
    crop: Annotated[
        str, Parameter(help="TOP,LEFT,HEIGHT,WIDTH in pixels; up to 16 px a side the values are written in")
    ] = "",
    size: Annotated[int | None, INTEGER, Parameter(help="pixels a side to resize a file to (default: 224)")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """An image's channels with its pixel values, before and after normalization."""
    from lenext.workflows import show

    corner = parse_numbers(crop, 4, "crop") if crop else ()
    figure = show.channels(source, sample=sample, crop=corner, size=size, data_dir=data_dir, offline=offline)
    write_figure(figure, out, "channels")


@showing.command
def filters(
    image: ImagePath,
    /,
    *,
    run: RunFolder = "",
    size: Annotated[int, INTEGER, Parameter(help="pixels a side to resize the file to")] = 224,
    network: Network = "",
    out: Out = None,
) -> None:
    """An image through hand-made filters (edges, blur, sharpen), and through a run's first kernels."""
    if not run:
        refuse("without --run", network=network)
    from lenext.workflows import show

    write_figure(show.filters(image, run or None, size=size, network=network), out, "filters")


@showing.command
def kernels(run: RunFolder, /, *, network: Network = "", out: Out = None) -> None:
    """The kernels of a run's first convolution."""
    from lenext.workflows import show

    write_figure(show.kernels(run, network=network), out, "kernels")


@showing.command
def features(
    run: RunFolder,
    image: ImagePath,
    /,
    *,
    layer: Annotated[str, Parameter(help="a layer's name, as in `lenext summary` (default: the last map)")] = "",
    network: Network = "",
    out: Out = None,
) -> None:
    """The feature maps that a layer computes from an image."""
    from lenext.workflows import show

    write_figure(show.features(run, image, layer=layer, network=network), out, "features")


@showing.command
def confusion(
    run: RunFolder,
    /,
    *,
    normalized: Annotated[bool, Parameter(negative="", help="per cent of the true class")] = False,
    out: Out = None,
) -> None:
    """The confusion matrix of a run's test images."""
    from lenext.workflows import show

    write_figure(show.confusion(run, normalized=normalized), out, "confusion")


@showing.command
def classes(run: RunFolder, /, *, out: Out = None) -> None:
    """Precision, recall and F1 by class."""
    from lenext.workflows import show

    write_figure(show.classes(run), out, "classes")


@showing.command
def reliability(run: RunFolder, /, *, out: Out = None) -> None:
    """The reliability diagram: accuracy by predicted probability."""
    from lenext.workflows import show

    write_figure(show.reliability(run), out, "reliability")


@showing.command
def curves(*runs: RunFolder, out: Out = None) -> None:
    """The loss and accuracy of several runs by epoch, over each other."""
    if not runs:
        raise ConfigurationError("curves: name one or more runs")
    from lenext.workflows import show

    write_figure(show.curves(*runs), out, "curves")


@showing.command
def embedding(
    run: RunFolder,
    /,
    *,
    method: Annotated[Literal["pca", "tsne"], Parameter(help="how to project the features to two dimensions")] = "pca",
    network: Network = "",
    data_dir: DataDir = None,
    offline: Offline = False,
    out: Out = None,
) -> None:
    """The test images as points, by the features before the network's last layer."""
    from lenext.workflows import show

    figure = show.embedding(run, method=method, network=network, data_dir=data_dir, offline=offline)
    write_figure(figure, out, "embedding")


@showing.command
def field(
    network: Annotated[str, Parameter(help="a name (lenext list models)")],
    image: ImagePath,
    /,
    *,
    image_size: Annotated[
        int | None, INTEGER, Parameter(help="pixels a side of the network's input (default: the design size)")
    ] = None,
    out: Out = None,
) -> None:
    """The receptive fields of a network's stages, drawn on an image."""
    from lenext.workflows import show

    write_figure(show.field(network, image, image_size=image_size), out, "field")


@app.command
def explain(
    run: RunFolder,
    /,
    *images: Annotated[str, Parameter(help="image files, folders, globs")],
    layer: Annotated[str, Parameter(help="the layer that Grad-CAM uses (default: the last map)")] = "",
    network: Network = "",
    out: Out = None,
) -> None:
    """Draw which parts of your images a run's predictions depend on: saliency, Grad-CAM, occlusion."""
    from lenext.workflows import show

    write_figure(show.explain(run, *images, layer=layer, network=network), out, "explained")
