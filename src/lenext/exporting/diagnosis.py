"""Why a network cannot be exported: the smallest part of it that torch's exporter refuses."""

from typing import Any

import torch
from torch import Tensor, nn

from lenext.exporting.graph import ExportedNetwork
from lenext.foundation.errors import ConfigurationError

MAX_REASON_CHARACTERS = 300


def explain_failure(module: ExportedNetwork, example: Tensor, error: Exception) -> ConfigurationError:
    """Return an error that names the smallest part that cannot be exported, and what to do."""
    inputs: dict[str, tuple[Any, ...]] = {}
    handles = [
        part.register_forward_pre_hook(lambda _, values, name=name: inputs.setdefault(name, values))
        for name, part in module.named_modules()
    ]
    try:
        with torch.no_grad():
            module(example)
    except Exception as broken:
        return ConfigurationError(
            f"export: the network fails on images of {tuple(example.shape[1:])}: {first_line(broken)}"
        )
    finally:
        for handle in handles:
            handle.remove()
    name, reason = "", error
    while True:
        part = module.get_submodule(name)
        for child, _ in part.named_children():
            full = f"{name}.{child}" if name else child
            if full in inputs and (failure := export_failure(module.get_submodule(full), inputs[full])):
                name, reason = full, failure
                break
        else:
            break
    kind = type(module.get_submodule(name)).__name__
    shown = name.removeprefix("network").removeprefix(".") or "the network itself"
    return ConfigurationError(
        f"export: {shown} ({kind}) cannot be exported: {first_line(reason)}; write it without Python that depends on "
        "values of tensors, or with operators of torch"
    )


def export_failure(part: nn.Module, values: tuple[Any, ...]) -> Exception | None:
    """Return the error of exporting a part alone, with a batch of any size; None if it can be exported."""
    sizes = tuple(
        {0: torch.export.Dim("batch", min=1, max=1 << 16)} if isinstance(value, Tensor) else None for value in values
    )
    try:
        torch.export.export(part, values, dynamic_shapes=sizes)
    except Exception as error:
        return error
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of the innermost cause of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:MAX_REASON_CHARACTERS]
