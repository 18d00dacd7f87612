"""What each tensor of a forward pass has seen: its receptive field, its stride, how many weighted layers lie behind it.

Every function that torch calls is watched, so additions and concatenations outside of layers are followed too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from lenext.inspection.calls import Call
from lenext.inspection.places import Seen, merged
from lenext.inspection.rules import rule_of


def seen_by(value: Any) -> Seen | None:
    """What is known of a tensor, or of the first of several that is marked."""
    marked = all_seen(value)
    return marked[0] if marked else None


def all_seen(value: Any) -> list[Seen]:
    """What is known of the tensors in an argument."""
    if isinstance(value, Tensor):
        seen = getattr(value, "lenext_seen", None)
        return [] if seen is None else [seen]
    if isinstance(value, list | tuple):
        return [seen for part in value for seen in all_seen(part)]
    return []


def mark(tensor: Tensor, seen: Seen) -> None:
    """Note on a tensor what it has seen."""
    tensor.lenext_seen = seen  # type: ignore[attr-defined]


class Trace(TorchFunctionMode):
    """While it is entered, every result is marked with what it has seen."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = all_seen([*args, *kwargs.values()])  # before the call, which may work in place
        operands = [seen_by(value) for value in args]
        result = func(*args, **kwargs)
        if inputs:
            name = getattr(func, "__name__", "")
            name = getattr(func.__self__, "__name__", "") if name == "__get__" else name  # an attribute, such as x.mT
            results = result if isinstance(result, list | tuple) else [result]
            for place, tensor in enumerate(results):
                if isinstance(tensor, Tensor):
                    call = Call(name, args, kwargs, operands, inputs, tensor, place, results)
                    mark(tensor, after(call))
        return result


def after(call: Call) -> Seen:
    """What a function's result has seen; as its inputs have, where there is no rule or the call is of another form."""
    rule = rule_of(call.name)
    try:
        return merged([rule(call)] if rule else call.inputs, call.shape)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return merged(call.inputs, call.shape)
