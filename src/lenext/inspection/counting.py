"""Count multiply-adds at torch's own operations, as its flop counter does, whatever code calls them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

TORCH_NAMESPACES = ("aten", "prim", "prims")
UNCOUNTED = {  # torch's operations that multiply and add, but that its flop counter ignores
    "_cdist_forward", "_grouped_mm", "_int_mm", "_native_multi_head_attention", "_sparse_addmm", "_sparse_mm",
    "_sparse_mm_reduce_impl", "_transformer_encoder_layer_fwd", "_trilinear", "addbmm", "addmv", "addmv_", "conv_tbc",
    "dot", "miopen_rnn", "_cudnn_rnn", "mv", "sparse_sampled_addmm", "vdot",
}  # fmt: skip
UNCOUNTED_PREFIXES = (
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


def fused_attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Return the flops of fused attention."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def fused_recurrent_flops(sequence: Tensor, weight: Tensor, recurrent_weight: Tensor, *_: Any, **__: Any) -> int:
    """Return the flops of a fused recurrent layer: two matrix products for each step."""
    steps = sequence.numel() // sequence.shape[-1]
    return 2 * steps * (weight.numel() + recurrent_weight.numel())


FUSED_ON_CPU: dict[Any, Callable[..., int]] = {  # elsewhere matrix products, which the flop counter knows
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused_attention_flops,
    torch.ops.aten.mkldnn_rnn_layer: fused_recurrent_flops,
}
FLOPS: dict[Any, Callable[..., int]] = {**flop_registry, **FUSED_ON_CPU}


@dataclass(frozen=True)
class Work:
    """Multiply-adds, and the names of operations that they do not include."""

    multiply_adds: int = 0
    uncounted: frozenset[str] = frozenset()

    def __add__(self, work: "Work") -> "Work":
        return Work(self.multiply_adds + work.multiply_adds, self.uncounted | work.uncounted)


@dataclass
class Counter(TorchDispatchMode):
    """A context that adds the work of each operation to the module that runs: the last of `open_modules`."""

    open_modules: list[Work] = field(default_factory=lambda: [Work()])

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: True would import torch's compiler at the first operation, which takes a second."""
        return False

    def open(self) -> None:
        """Start a module; the count of the module around it continues after `close`."""
        self.open_modules.append(Work())

    def close(self) -> Work:
        """End the current module, and return its work without that of the modules inside it."""
        return self.open_modules.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = getattr(func, "overloadpacket", func)
        if torch.is_inference_mode_enabled() and packet not in FLOPS and hasattr(func, "decompose"):
            with self:  # inference mode does not decompose composite operations
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        if packet is torch.ops.aten.native_batch_norm and result[0].is_meta and not args[5]:
            # outside of training, devices give no statistics to keep for the backward pass; the meta device does
            result = (result[0], result[0].new_empty(0), result[0].new_empty(0))
        if packet in FLOPS:
            work = Work(FLOPS[packet](*args, **(kwargs or {}), out_val=result) // 2)
            self.open_modules[-1] += work
        elif is_uncounted(func):
            self.open_modules[-1] += Work(uncounted=frozenset([str(packet)]))
        return result


def is_uncounted(func: Any) -> bool:
    """Return whether an operation without a rule may multiply and add: some of torch's, and any that is not torch's."""
    name = str(getattr(func, "overloadpacket", func)).rpartition(".")[2]
    if getattr(func, "namespace", "") not in TORCH_NAMESPACES:
        return True
    return name in UNCOUNTED or name.startswith(UNCOUNTED_PREFIXES)
