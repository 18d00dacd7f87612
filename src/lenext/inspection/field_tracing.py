"""Trace the receptive field, stride and depth of each tensor of a forward pass.

Every call of a torch function is intercepted, so additions and concatenations outside of layers are traced too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from lenext.inspection.field_rules import find_rule
from lenext.inspection.function_call import FunctionCall
from lenext.inspection.receptive_field import ReceptiveField, merge_fields


def field_of(value: Any) -> ReceptiveField | None:
    """Return the field of a tensor, or of the first of several that has one; None if there is none."""
    fields = fields_of(value)
    return fields[0] if fields else None


def fields_of(value: Any) -> list[ReceptiveField]:
    """Return the known fields of the tensors in an argument."""
    if isinstance(value, Tensor):
        field = getattr(value, "lenext_field", None)
        return [] if field is None else [field]
    if isinstance(value, list | tuple):
        return [field for part in value for field in fields_of(part)]
    return []


def set_field(tensor: Tensor, field: ReceptiveField) -> None:
    """Attach a field to a tensor."""
    tensor.lenext_field = field  # type: ignore[attr-defined]


class FieldTracer(TorchFunctionMode):
    """A context in which the result of every torch function gets its field."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = fields_of([*args, *kwargs.values()])  # before the call, which may work in place
        operands = [field_of(value) for value in args]
        result = func(*args, **kwargs)
        if inputs:
            name = getattr(func, "__name__", "")
            name = getattr(func.__self__, "__name__", "") if name == "__get__" else name  # an attribute, such as x.mT
            results = result if isinstance(result, list | tuple) else [result]
            for index, tensor in enumerate(results):
                if isinstance(tensor, Tensor):
                    call = FunctionCall(name, args, kwargs, operands, inputs, tensor, index, results)
                    set_field(tensor, result_field(call))
        return result


def result_field(call: FunctionCall) -> ReceptiveField:
    """Return the field of a result; that of the inputs if no rule fits the call."""
    rule = find_rule(call.name)
    try:
        return merge_fields([rule(call)] if rule else call.inputs, call.shape)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return merge_fields(call.inputs, call.shape)
