"""The operations of a page as an ONNX graph, for onnxruntime-web: all values are outputs, and all weights inputs.

So the graph has a few kilobytes, the page keeps its weights once, and a weight that is changed in the page counts.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lenext.explorer.evaluation import evaluate
from lenext.explorer.operations import Operation
from lenext.exporting.extras import require
from lenext.exporting.onnx_file import quiet_exporter
from lenext.foundation.errors import ConfigurationError

OPSET = 18
INPUT = "image"


class AllValues(nn.Module):
    """The operations as a module from the image and the weights to all values."""

    def __init__(self, operations: Sequence[Operation], places: Sequence[dict[str, int]]) -> None:
        """Set what is computed.

        Args:
            operations: The operations.
            places: Of each, which of the weights is which of its tensors.
        """
        super().__init__()
        self.operations, self.places = operations, places

    def forward(self, image: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        """Return the value of each operation, (1, C, H, W) or (1, D)."""
        weighted = [
            replace(operation, tensors={role: weights[place] for role, place in places.items()})
            for operation, places in zip(self.operations, self.places, strict=True)
        ]
        return tuple(evaluate(weighted, image))


def onnx_graph(
    operations: Sequence[Operation], entries: Sequence[dict[str, int]], input_shape: Sequence[int]
) -> tuple[bytes, list[int]]:
    """Return the graph, and the entries of the page's arrays that are its inputs after the image, in order.

    An input is called `w` with the number of its entry, and the value of operation p `v` with the number p + 1.

    Args:
        operations: The operations.
        entries: Of each, the entry of each of its tensors by role.
        input_shape: Of the image (C, H, W).

    Raises:
        ConfigurationError: The packages for it are missing, or it cannot be made.
    """
    require("onnx", "explore: runtime=ort")
    require("onnxscript", "explore: runtime=ort")
    used = sorted({entry for each in entries for entry in each.values()})
    place = {entry: at for at, entry in enumerate(used)}
    tensors = {
        entry: operation.tensors[role]
        for operation, each in zip(operations, entries, strict=True)
        for role, entry in each.items()
    }
    module = AllValues(operations, [{role: place[entry] for role, entry in each.items()} for each in entries])
    weights = [tensors[entry].detach().float().contiguous() for entry in used]
    try:
        with quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(), (torch.zeros(1, *input_shape), *weights), dynamo=True, opset_version=OPSET,
                input_names=[INPUT, *(f"w{entry}" for entry in used)],
                output_names=[f"v{number + 1}" for number in range(len(operations))],
                external_data=False, verbose=False, optimize=False,
            )  # fmt: skip
    except Exception as error:  # the exporter raises what it likes
        reason = " ".join(str(error).split())[:200]
        raise ConfigurationError(f"explore: runtime=ort: the network cannot be exported ({reason})") from error
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # paths of this machine
        node.ClearField("doc_string")
    names = {each.name for each in model.graph.input}
    return model.SerializeToString(), [entry for entry in used if f"w{entry}" in names]
