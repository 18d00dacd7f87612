"""`lenext export` and `check-export`: a trained network as one file for other programs."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lenext.cli.app import DataDir, Offline, StoredWeights, UserNetwork, app


@app.command
def export(
    model: Annotated[str, Parameter(help="Folder of a run, a .safetensors weights file, or a network name.")],
    /,
    *,
    out: Annotated[str, Parameter(help="The file (default: RUN/exports/RUN.onnx); a folder with --for.")] = "",
    format: Annotated[
        Literal["onnx", "openvino", "pt2"], Parameter(help="ONNX, OpenVINO's .xml and .bin, or torch.export's program.")
    ] = "onnx",
    server: Annotated[
        Literal["kserve", "triton", "ovms"] | None,
        Parameter(name="--for", help="Write a model repository for such a server into --out."),
    ] = None,
    network_only: Annotated[
        bool, Parameter(negative="", help="Leave preprocessing out; it is written into the metadata instead.")
    ] = False,
    int8: Annotated[
        bool,
        Parameter(negative="", help="Quantize the network, if it stays as good and becomes faster here."),
    ] = False,
    weights: StoredWeights = None,
    network: UserNetwork = "",
    pretrained: Annotated[
        bool, Parameter(negative="", help="Export the published weights of a network given by name.")
    ] = False,
    verify_with: Annotated[
        str, Parameter(help="Folder of images to verify with (default: the run's validation images).")
    ] = "",
    unverified: Annotated[bool, Parameter(negative="", help="Compare nothing; the file says so.")] = False,
    licence: Annotated[str, Parameter(help="Licence of the weights, written into the file.")] = "",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Write a trained network with its preprocessing as one file, once its answers equal those of predict.

    Exit code 3: the answers differ, and nothing was written.
    """
    from lenext.workflows.export import export as work

    work(
        model, out=out, format=format, server=server, network_only=network_only, int8=int8, weights=weights,
        network=network,
        pretrained=pretrained, verify_with=verify_with, unverified=unverified, licence=licence, data_dir=data_dir,
        offline=offline,
    )  # fmt: skip


@app.command
def check_export(
    file: Annotated[Path, Parameter(help="An exported file, with its self-test beside it.")],
    /,
    *,
    engine: Annotated[Literal["auto", "onnxruntime", "openvino"], Parameter(help="What runs the file.")] = "auto",
) -> None:
    """Repeat the self-test of an exported file: the same pixels and probabilities as where it was made.

    Exit code 3: they differ.
    """
    from lenext.workflows.export import check_export as work

    work(file, engine=engine)
