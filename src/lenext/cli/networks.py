"""`lenext summary`, `diagram` and `arithmetic`: what is known of a network before it is trained."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import WHOLE, AsJson, Options, app, pairs, refuse
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import write_atomic
from lenext.foundation.streams import write_out
from lenext.reporting.tables import bytes_spoken, show, show_json

if TYPE_CHECKING:
    from lenext.inspection.summary import Summary


@app.command
def summary(
    network: Annotated[str, Parameter(help="a name (lenext list models) or FILE.py:Class")],
    /,
    *,
    by: Annotated[
        Literal["layer", "block", "stage"] | None, Parameter(help="how far to fold the table (default: layer)")
    ] = None,
    against: Annotated[str, Parameter(help="another network, without --option: print where the two differ")] = "",
    image_size: Annotated[int | None, WHOLE, Parameter(help="pixels a side (default: what it is made for)")] = None,
    channels: Annotated[int | None, WHOLE, Parameter(help="of the images (default: the network's own)")] = None,
    classes: Annotated[int | None, WHOLE, Parameter(help="to tell apart (default: the network's own)")] = None,
    options: Options = None,
    json: AsJson = False,
) -> None:
    """A network's layers: output shapes, parameters, multiply-adds, memory and receptive field, for one image."""
    from lenext.workflows.describe import differences, summarize_named

    if against:
        refuse("beside --against, which compares layer by layer", by=by)
    given = pairs(options)
    found = summarize_named(network, given, image_size, channels, classes)
    if against:
        other = summarize_named(against, {}, image_size, channels, classes)
        rows = differences(found, other, given)
        if json:
            show_json(rows)
        else:
            show(rows, False)
            totals(found)
            totals(other)
        return
    by = by or "layer"
    layers = {"layer": found.layers, "block": found.blocks(), "stage": found.stages()}[by]
    if json:
        show_json(dataclasses.asdict(found) | {"layers": [dataclasses.asdict(layer) for layer in layers]})
        return
    rows = [
        {
            by: layer.name,
            "type": layer.kind,
            "output": " x ".join(map(str, layer.output_shape)),
            "parameters": layer.parameters or "",
            "mult-adds": f"at least {layer.multiply_adds:,}" if layer.uncounted else layer.multiply_adds or "",
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
    least = "at least " if found.uncounted else ""
    uncounted = f" (not counted: {', '.join(found.uncounted)})" if found.uncounted else ""
    train, evaluation = bytes_spoken(found.training_bytes), bytes_spoken(found.evaluation_bytes)
    write_out(
        f"\n{found.network} on an image of {shape}: {found.parameters:,} parameters{frozen}, "
        f"{least}{found.multiply_adds:,} multiply-adds{uncounted}\n"
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
    image_size: Annotated[int | None, WHOLE, Parameter(help="pixels a side (default: what it is made for)")] = None,
    channels: Annotated[int | None, WHOLE, Parameter(help="of the images (default: the network's own)")] = None,
    options: Options = None,
    out: Annotated[Path | None, Parameter(help="the SVG file (default: NETWORK.svg)")] = None,
) -> None:
    """A network, or one block of it, as an SVG image drawn from the network itself."""
    from lenext.workflows.describe import diagram_of

    networks = [network, against] if against else [network]
    text = diagram_of(networks, pairs(options), block, image_size, channels)
    path = out or Path("-".join(one.rpartition(":")[2] for one in networks) + ".svg")
    write_atomic(path, text)
    write_out(f"{path}\n")


@app.command
def arithmetic(
    *,
    size: Annotated[int, WHOLE, Parameter(name=["--in", "--size"], help="pixels a side that go in")],
    kernel: Annotated[int, WHOLE, Parameter(help="pixels a side of the kernel or pooling window")],
    stride: Annotated[int, WHOLE, Parameter(help="pixels between steps")] = 1,
    padding: Annotated[int, WHOLE, Parameter(help="pixels added at each side")] = 0,
    dilation: Annotated[int, WHOLE, Parameter(help="pixels between the kernel's own")] = 1,
    out: Annotated[Path | None, Parameter(help="also draw the first steps into this PNG")] = None,
    json: AsJson = False,
) -> None:
    """The output size of a convolution or pooling, with an image of what the kernel touches."""
    from lenext.inspection.arithmetic import Arithmetic

    found = Arithmetic(size, kernel, stride, padding, dilation)
    if out:
        from lenext.reporting.figures import save_figure, steps

        if found.size + 2 * found.padding > MOST_SQUARES:
            raise ConfigurationError(f"size={found.size}: more than {MOST_SQUARES} pixels a side are no image to read")
        save_figure(steps(found), out)
    if json:
        show_json(dataclasses.asdict(found) | {"output": found.output, "span": found.span, "unused": found.unused})
        return
    rest = f"; {found.unused} at the far end are never touched" if found.unused else ""
    write_out(f"output size {found.output}: {found.formula()}\nthe kernel spans {found.span} pixels{rest}\n\n")
    write_out(f"{found.draw()}\n\n.  pixel   o  padding   #, 0  under the kernel\n")
