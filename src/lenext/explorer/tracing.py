"""Record a network as operations, by torch.export."""

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from lenext.explorer import layer_conversions, tensor_conversions  # noqa: F401 (they register themselves)
from lenext.explorer.operations import CONVERSIONS, Builder, Operation, UnsupportedError, Value
from lenext.exporting.diagnosis import first_line
from lenext.exporting.onnx_file import quiet_exporter
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.modes import evaluation_mode
from lenext.inspection.modules import blank_image

INSTEAD = "`lenext show features` draws its feature maps, and `lenext diagram` its layers"

RENAMED = {"self": "value", "value": "fill", "other": "operand"}
"""Arguments of torch's functions by the names that they have here."""


def trace(network: nn.Module, input_shape: tuple[int, int, int]) -> list[Operation]:
    """Return the operations of a network in evaluation mode.

    Args:
        network: From images (N, C, H, W) to logits (N, K), on the CPU, in fp32.
        input_shape: (C, H, W).

    Raises:
        ConfigurationError: torch.export refuses the network, or the page cannot compute one of its operations.
    """
    with evaluation_mode(network), quiet_exporter(), torch.no_grad():
        try:
            program = torch.export.export(network, (blank_image(network, input_shape),))
        except Exception as error:  # a user-defined network may raise anything
            raise ConfigurationError(
                f"explore: the network cannot be traced: {first_line(error)}; {INSTEAD}"
            ) from error
    return Tracer(program, input_shape).trace()


class Tracer:
    """Turns an exported program into operations."""

    def __init__(self, program: Any, input_shape: tuple[int, int, int]) -> None:
        signature = program.graph_signature
        stored = {**program.state_dict, **program.constants}
        names = {
            **signature.inputs_to_parameters, **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }  # fmt: skip
        self.nodes = program.graph.nodes
        self.constants = {name: stored[target].detach().clone() for name, target in names.items()}
        self.image = Value(0, input_shape, (0, 1, 2))
        self.values: dict[str, Any] = {}
        self.graph = Builder()

    def trace(self) -> list[Operation]:
        """Return the operations. Raises ConfigurationError for one that the page cannot compute."""
        for node in self.nodes:
            if node.op == "placeholder":
                self.values[node.name] = self.constants.get(node.name, self.image)
            elif node.op == "get_attr":
                raise ConfigurationError(f"explore: the network has a network within a function; {INSTEAD}")
            elif node.op == "call_function":
                self.graph.module = module_of(node)
                try:
                    self.values[node.name] = self.call(node)
                except Exception as error:  # a user-defined network may call anything, in any way
                    place = self.graph.module or "the network itself"
                    problem = error if isinstance(error, UnsupportedError) else f"`{node.target}` in an unusual way"
                    raise ConfigurationError(
                        f"explore: {place} uses {problem}, which the page cannot compute; {INSTEAD}"
                    ) from error
        return self.up_to(self.read(node.args[0]))

    def up_to(self, outputs: Any) -> list[Operation]:
        """Return the operations up to the network's output. Raises ConfigurationError unless it is one vector."""
        output = outputs[0] if len(outputs) == 1 else None
        if not isinstance(output, Value) or len(output.shape) != 1 or not output.position:
            raise ConfigurationError(f"explore: the network does not return logits (N, K); {INSTEAD}")
        return self.graph.operations[: output.position]

    def call(self, node: Any) -> Any:
        """Return the result of a call: a Value, a tensor of constants, or several of them."""
        if node.target is operator.getitem:
            values, position = self.read(node.args)
            return values[position]
        positional, named = self.read(node.args), self.read(dict(node.kwargs))
        if not any(isinstance(each, Value) for each in flattened([*positional, *named.values()])):
            return node.target(*positional, **named)  # of constants
        schema = node.target._schema
        name = schema.name.partition("::")[2]
        arguments = {each.name: each.default_value for each in schema.arguments}
        arguments |= dict(zip(arguments, positional, strict=False)) | named
        function = name.removesuffix("_")
        if function not in CONVERSIONS:
            raise UnsupportedError(f"`{name}`")
        result = CONVERSIONS[function](self.graph, **{RENAMED.get(key, key): each for key, each in arguments.items()})
        if name != function:  # done in place: its input is changed, too
            self.values[node.args[0].name] = result
        return result

    def read(self, argument: Any) -> Any:
        """Return an argument with the values of the nodes in it."""
        if isinstance(argument, torch.fx.Node):
            return self.values[argument.name]
        if isinstance(argument, list | tuple):
            return [self.read(each) for each in argument]
        if isinstance(argument, dict):
            return {key: self.read(each) for key, each in argument.items()}
        return argument


def flattened(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, and those in lists."""
    for value in values:
        if isinstance(value, list):
            yield from flattened(value)
        else:
            yield value


def module_of(node: Any) -> str:
    """Return the name of the innermost module that a call runs in; empty for the network itself."""
    stack = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())
    return str(stack[-1][0])
