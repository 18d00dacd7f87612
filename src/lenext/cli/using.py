"""`lenext val`, `predict` and `report`: using trained runs."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import INTEGER, DataDir, Offline, UserNetwork, WeightsOptions, app
from lenext.foundation.errors import LenextError
from lenext.foundation.files import csv_text
from lenext.foundation.settings import OnBadImage
from lenext.foundation.streams import write_error, write_out
from lenext.reporting.tables import print_json, print_rows

if TYPE_CHECKING:
    from lenext.runs.predict import Prediction

MAX_REMARKS = 10  # printed


@app.command
def val(
    run: Annotated[Path, Parameter(help="Folder of the run; or an exported file, with --data.")],
    /,
    *,
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        Parameter(help="Split of the run's data; each use of test is counted (default: validation)."),
    ] = None,
    data: Annotated[str, Parameter(help="Other data to evaluate on; classes are matched by name.")] = "",
    opening: Annotated[WeightsOptions, Parameter(name="*")] = WeightsOptions(),  # noqa: B008
) -> None:
    """Evaluate a run on its validation set, or on another split or dataset."""
    from lenext.workflows.evaluate import val as work

    work(run, split=split, data=data, **vars(opening))


@app.command
def predict(
    run: Annotated[Path, Parameter(help="Folder of a run, a file of weights, an exported file, or a network name.")],
    images: Annotated[list[str], Parameter(help="Files, folders, globs.", negative="")],
    /,
    *,
    pretrained: Annotated[
        bool, Parameter(negative="", help="Use the published weights of a network given by name.")
    ] = False,
    top: Annotated[int, INTEGER, Parameter(help="Number of classes to print per image.")] = 1,
    invert: Annotated[
        Literal["no", "yes", "auto"],
        Parameter(help="Exchange dark and bright; auto: where the background is unlike the training images'."),
    ] = "no",
    fit: Annotated[
        Literal["auto", "crop", "pad", "stretch"],
        Parameter(help="Resize images of another shape: crop, pad or stretch; auto: as in training."),
    ] = "auto",
    digit: Annotated[
        bool, Parameter(negative="", help="Centre and scale a drawn digit as MNIST does, bright on black.")
    ] = False,
    format: Annotated[Literal["table", "csv", "json"], Parameter(help="Output format.")] = "table",
    on_bad_image: Annotated[OnBadImage, Parameter(help="Stop at a broken image, or report and skip it.")] = "stop",
    opening: Annotated[WeightsOptions, Parameter(name="*")] = WeightsOptions(),  # noqa: B008
) -> None:
    """Predict the most probable classes of images."""
    from lenext.workflows.predict import predict as work

    results = work(
        run, *images, top=top, pretrained=pretrained, invert=invert, fit=fit, digit=digit, on_bad_image=on_bad_image,
        **vars(opening),
    )  # fmt: skip
    rows = [result for result in results if not isinstance(result, LenextError)]
    if rows and (opening.engine or not rows[0].engine.startswith("torch,")):
        write_error(f"engine: {rows[0].engine}")
    for result in results:
        if isinstance(result, LenextError):
            write_error(f"left out: {result}")
    if format == "json":
        print_json([dataclasses.asdict(row) for row in rows])
        return
    if format == "csv":
        write_out(format_csv(rows))
        return
    noted = [row for row in rows if row.remarks]
    for row in noted[:MAX_REMARKS]:
        write_error(f"{row.path}: {'; '.join(row.remarks)}")
    if len(noted) > MAX_REMARKS:
        write_error(f"and {len(noted) - MAX_REMARKS:,} more images with remarks; --format json has all of them")
    folder = os.path.commonpath([os.path.dirname(row.path) for row in rows]) if len(rows) > 1 else ""
    print_rows(
        [
            {
                "image": os.path.relpath(row.path, folder) if folder else row.path,
                "most probable": ", ".join(f"{c} {p:.1%}" for c, p in zip(row.classes, row.probabilities, strict=True)),
            }
            for row in rows
        ],
        False,
    )


def format_csv(predictions: Sequence["Prediction"]) -> str:
    """Format predictions as CSV, a class and its probability for each rank."""
    ranks = max((len(row.classes) for row in predictions), default=1)
    header = ["image", "class", "probability"]
    header += [f"{name}_{rank}" for rank in range(2, ranks + 1) for name in ("class", "probability")]
    cells = (
        [row.path, *(cell for name, share in zip(row.classes, row.probabilities, strict=True)
                     for cell in (name, f"{share:.4f}"))]
        for row in predictions
    )  # fmt: skip
    return csv_text(header, cells)


@app.command
def report(
    run: Annotated[str, Parameter(help="Folder of the run.")],
    /,
    *,
    network: UserNetwork = "",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Write a run's page, report.html: one file that opens in a browser and can be sent or printed."""
    from lenext.workflows.report import report as work

    path = work(run, network=network, data_dir=data_dir, offline=offline)
    write_out(f"{path}\n")
