"""`lenext summary`, `diagram` and `arithmetic`: a network's layers and cost, before it is trained."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, AsJson, Options, app, parse_pairs, refuse
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.streams import write_out
from lenext.reporting.tables import print_json, print_rows

MAX_DRAWN_PIXELS = 64  # a side, padding included

NetworkName = Annotated[str, Parameter(help="Name (lenext list models) or FILE.py:Class.")]
ImageSize = Annotated[
    int | None, INTEGER, Parameter(help="Height and width of the images in pixels (default: the design size).")
]
Channels = Annotated[int | None, INTEGER, Parameter(help="Channels of the images (default: the network's).")]


@app.command
def summary(
    network: NetworkName,
    /,
    *,
    by: Annotated[
        Literal["layer", "block", "stage"] | None, Parameter(help="Rows of the table (default: layer).")
    ] = None,
    against: Annotated[
        str, Parameter(help="Another network, without --option: print only the layers that differ.")
    ] = "",
    image_size: ImageSize = None,
    channels: Channels = None,
    classes: Annotated[int | None, INTEGER, Parameter(help="Number of classes (default: the network's).")] = None,
    options: Options = None,
    json: AsJson = False,
) -> None:
    """Print a network's layers: output shapes, parameters, multiply-adds, memory and receptive field, for one image."""
    from lenext.reporting.networks import NUMBER_COLUMNS
    from lenext.workflows.networks import layer_differences
    from lenext.workflows.networks import summary as summarize

    if against:
        refuse("beside --against, which compares layer by layer", by=by)
    chosen = parse_pairs(options)
    table = summarize(
        network, by=by or "layer", image_size=image_size, channels=channels, classes=classes, options=chosen
    )
    if against:
        other_table = summarize(against, image_size=image_size, channels=channels, classes=classes)
        rows = layer_differences(table.summary, other_table.summary, chosen)
        print_rows(rows, json)
        if not json:
            write_out(f"\n{table.totals()}\n{other_table.totals()}")
    elif json:
        layers = [dataclasses.asdict(layer) for layer in table.layers]
        print_json(dataclasses.asdict(table.summary) | {"layers": layers})
    else:
        print_rows(table.rows(), right=NUMBER_COLUMNS)
        write_out(f"\n{table.totals()}")


@app.command
def diagram(
    network: NetworkName,
    /,
    *,
    against: Annotated[str, Parameter(help="another network, drawn beside it")] = "",
    block: Annotated[str, Parameter(help="draw one part, by its name in summary, e.g. layer2.0")] = "",
    by: Annotated[
        Literal["block", "layer"], Parameter(help="Draw blocks, without norms and activations, or all layers.")
    ] = "block",
    direction: Annotated[
        Literal["portrait", "landscape"], Parameter(help="Draw from top to bottom, or from left to right.")
    ] = "portrait",
    shape: Annotated[
        Literal["boxes", "volumes"], Parameter(help="Draw equal boxes, or volumes that shrink as the maps do.")
    ] = "boxes",
    image_size: ImageSize = None,
    channels: Channels = None,
    options: Options = None,
    out: Annotated[
        Path | None, Parameter(help="File, .svg, .png or .pdf (default: NETWORK.svg or NETWORK-BLOCK.svg).")
    ] = None,
) -> None:
    """Draw a network, or one block of it, from the network itself, as SVG, PNG or PDF."""
    from lenext.workflows.networks import diagram as draw_diagram

    drawn = draw_diagram(
        network,
        against=against,
        block=block,
        by=by,
        direction=direction,
        shape=shape,
        image_size=image_size,
        channels=channels,
        options=parse_pairs(options),
    )
    names = [name.rpartition(":")[2] for name in (network, against, block) if name]
    path = out or Path("-".join(names) + ".svg")
    drawn.save(path)
    write_out(f"{path}\n")


@app.command
def arithmetic(
    *,
    size: Annotated[int, INTEGER, Parameter(name=["--in", "--size"], help="Size of the input in pixels.")],
    kernel: Annotated[int, INTEGER, Parameter(help="Size of the kernel or pooling window in pixels.")],
    stride: Annotated[int, INTEGER, Parameter(help="Pixels between steps.")] = 1,
    padding: Annotated[int, INTEGER, Parameter(help="Pixels added on each side.")] = 0,
    dilation: Annotated[int, INTEGER, Parameter(help="Pixels between neighbours of the kernel.")] = 1,
    out: Annotated[Path | None, Parameter(help="also draw the first steps into this PNG")] = None,
    json: AsJson = False,
) -> None:
    """The output size of a convolution or pooling, with an image of the pixels that the kernel covers."""
    from lenext.inspection.arithmetic import Arithmetic

    result = Arithmetic(size, kernel, stride, padding, dilation)
    if out:
        from lenext.reporting.figures.arithmetic import kernel_steps
        from lenext.reporting.figures.canvas import save_figure

        if result.size + 2 * result.padding > MAX_DRAWN_PIXELS:
            raise ConfigurationError(
                f"size={result.size}: with padding, at most {MAX_DRAWN_PIXELS} pixels a side can be drawn; "
                "leave --out out"
            )
        save_figure(kernel_steps(result), out)
    if json:
        print_json(dataclasses.asdict(result) | {"output": result.output, "span": result.span, "unused": result.unused})
        return
    unused = f"; {result.unused} at the far end are never touched" if result.unused else ""
    write_out(f"output size {result.output}: {result.formula()}\nthe kernel spans {result.span} pixels{unused}\n\n")
    write_out(f"{result.draw()}\n\n.  pixel   o  padding   #, 0  under the kernel\n")
