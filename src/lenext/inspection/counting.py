"""Multiply-adds, counted at torch's own operations as its flop counter does, whatever code calls them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

TORCHS = ("aten", "prim", "prims")
UNCOUNTED = {  # torch's operations that multiply and add, and that its flop counter passes over
    "_cdist_forward", "_grouped_mm", "_int_mm", "_native_multi_head_attention", "_sparse_addmm", "_sparse_mm",
    "_sparse_mm_reduce_impl", "_transformer_encoder_layer_fwd", "_trilinear", "addbmm", "addmv", "addmv_", "conv_tbc",
    "dot", "miopen_rnn", "_cudnn_rnn", "mv", "sparse_sampled_addmm", "vdot",
}  # fmt: skip
UNCOUNTED_BEGIN = (
    "_fft_",
    "linalg_",
    "_linalg_eigh",
    "_linalg_det",
    "_linalg_slogdet",
    "_linalg_solve",
    "_linalg_svd",
    "mkldnn_",
    "_mkldnn",
    "_scaled_dot_product_",
    "_weight_int",
)


def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Flops of attention that is computed at once."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def recurrent(sequence: Tensor, weight: Tensor, recurrent_weight: Tensor, *_: Any, **__: Any) -> int:
    """Flops of a recurrent layer that is computed at once: two products of matrices for each step."""
    steps = sequence.numel() // sequence.shape[-1]
    return 2 * steps * (weight.numel() + recurrent_weight.numel())


ON_CPU: dict[Any, Callable[..., int]] = {  # fused there; elsewhere products of matrices that the flop counter knows
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten.mkldnn_rnn_layer: recurrent,
}
FLOPS: dict[Any, Callable[..., int]] = {**flop_registry, **ON_CPU}


@dataclass(frozen=True)
class Work:
    """Multiply-adds, and the names of operations whose multiply-adds are not among them."""

    multiply_adds: int = 0
    uncounted: frozenset[str] = frozenset()

    def __add__(self, other: "Work") -> "Work":
        return Work(self.multiply_adds + other.multiply_adds, self.uncounted | other.uncounted)


@dataclass
class Counter(TorchDispatchMode):
    """While entered, adds each operation to the part of the network that runs: the last of `open_parts`."""

    open_parts: list[Work] = field(default_factory=lambda: [Work()])

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To skip it would import torch's compiler at the first operation, which takes a second."""
        return False

    def open(self) -> None:
        """A part of the network begins; what the part around it does by itself goes on after it."""
        self.open_parts.append(Work())

    def close(self) -> Work:
        """Return what the part that ends has done by itself, without the parts inside it."""
        return self.open_parts.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = getattr(func, "overloadpacket", func)
        if torch.is_inference_mode_enabled() and packet not in FLOPS and hasattr(func, "decompose"):
            with self:  # composite operations come whole then
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        if packet is torch.ops.aten.native_batch_norm and result[0].is_meta and not args[5]:
            # outside of training, devices give no statistics to keep for the backward pass; the meta device does
            result = (result[0], result[0].new_empty(0), result[0].new_empty(0))
        if packet in FLOPS:
            work = Work(FLOPS[packet](*args, **(kwargs or {}), out_val=result) // 2)
            self.open_parts[-1] += work
        elif is_uncounted(func):
            self.open_parts[-1] += Work(uncounted=frozenset([str(packet)]))
        return result


def is_uncounted(func: Any) -> bool:
    """Whether an operation without a rule may multiply and add: a few of torch's own, and any that torch has not."""
    name = str(getattr(func, "overloadpacket", func)).rpartition(".")[2]
    if getattr(func, "namespace", "") not in TORCHS:
        return True
    return name in UNCOUNTED or name.startswith(UNCOUNTED_BEGIN)
