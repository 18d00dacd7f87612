"""`lenext explore`: a network in a page, to look inside."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import DataDir, Offline, StoredWeights, UserNetwork, app


@app.command
def explore(
    model: Annotated[
        str, Parameter(help="Folder of a run, a .safetensors weights file, or a network name (untrained).")
    ],
    /,
    *,
    against: Annotated[
        str, Parameter(help="A second run or weights file, to see both side by side: a variant, or another epoch.")
    ] = "",
    out: Annotated[Path | None, Parameter(help="The page (default: RUN/explorer.html, or NAME.html here).")] = None,
    weights: StoredWeights = None,
    network: UserNetwork = "",
    pretrained: Annotated[
        bool, Parameter(negative="", help="Explore the published weights of a network given by name.")
    ] = False,
    stored_as: Annotated[
        Literal["auto", "fp32", "fp24", "int8"],
        Parameter(help="How exact the weights in the page are: fp24 is within 1.6e-5, int8 a quarter of the size."),
    ] = "auto",
    runtime: Annotated[
        Literal["own", "ort"],
        Parameter(help="What computes in the page: own JavaScript, or onnxruntime-web, downloaded at its first use."),
    ] = "own",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Write a page that runs a network in the browser: draw an image, and see every number computed from it."""
    from lenext.workflows.explore import explore as work

    work(
        model, against=against, out=out or "", weights=weights, network=network, pretrained=pretrained,
        stored_as=stored_as, runtime=runtime, data_dir=data_dir, offline=offline,
    )  # fmt: skip
