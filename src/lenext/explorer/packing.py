"""Arrays in a page: as text, compressed, and exact or rounded."""

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Storage = Literal["fp32", "fp24", "int8"]
BYTES: dict[Storage, int] = {"fp32": 4, "fp24": 3, "int8": 1}
"""Bytes a weight. fp24 is fp32 with 15 instead of 23 bits of fraction: a relative error of at most 1.6e-5."""
LEVELS = 127  # of int8, each side of zero


@dataclass
class Pack:
    """Collects arrays for a page: their bytes, and where each lies.

    Attributes:
        content: The bytes so far.
        entries: Of each array: type, shape, first byte, and for int8 the scale of each output channel.
        entry_by_weights: Of weights, by their place in memory and shape: a module that runs twice has them once.
    """

    content: bytearray = field(default_factory=bytearray)
    entries: list[dict[str, Any]] = field(default_factory=list)
    entry_by_weights: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def add_weights(self, weights: Tensor, storage: Storage) -> int:
        """Append weights, and return the number of their entry. Vectors stay in fp32 where matrices become int8."""
        key = (weights.data_ptr(), tuple(weights.shape), weights.stride())
        if key not in self.entry_by_weights:
            self.entry_by_weights[key] = self.append_weights(weights, storage)
        return self.entry_by_weights[key]

    def append_weights(self, weights: Tensor, storage: Storage) -> int:
        """Append weights that are not there yet."""
        values = weights.detach().cpu().float().contiguous()
        if storage == "int8" and values.dim() > 1:
            levels, scales = quantize(values)
            return self.append(levels.numpy().tobytes(), values.shape, "int8", {"scales": scales.tolist()})
        if storage == "fp24" and values.dim() > 1:
            return self.append(planes(rounded_bits(values.numpy())[:, 1:]), values.shape, "fp24")
        return self.append(planes(values.numpy().reshape(-1, 1).view(np.uint8)), values.shape, "fp32")

    def add_pixels(self, pixels: NDArray[np.uint8]) -> int:
        """Append pixels of 0 to 255, and return the number of their entry."""
        return self.append(pixels.tobytes(), pixels.shape, "uint8")

    def append(self, content: bytes, shape: Any, type: str, facts: Mapping[str, Any] | None = None) -> int:
        """Append an array, and return the number of its entry."""
        self.entries.append({"type": type, "shape": list(shape), "start": len(self.content), **(facts or {})})
        self.content += content
        return len(self.entries) - 1

    def to_text(self) -> str:
        """Return all bytes, compressed, in base64."""
        return base64.b64encode(gzip.compress(bytes(self.content), 9, mtime=0)).decode()


def planes(content: NDArray[np.uint8]) -> bytes:
    """Return the bytes of numbers (N, B) plane by plane: their exponents side by side compress, their fractions not."""
    return content.T.tobytes()


def rounded_bits(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return fp32 values as bytes (N, 4), rounded to the nearest number whose lowest byte is 0."""
    bits = values.reshape(-1).view(np.uint32).astype(np.uint64) + 0x80
    return (bits & 0xFFFFFF00).astype(np.uint32).reshape(-1, 1).view(np.uint8)


def quantize(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (C, ...) as int8, and the scale (C,) of each output channel."""
    scales = values.flatten(1).abs().amax(1).clamp(min=1e-12) / LEVELS
    levels = (values / scales.view(-1, *(1 for _ in values.shape[1:]))).round().clamp(-LEVELS, LEVELS)
    return levels.to(torch.int8), scales


def as_stored(weights: Tensor, storage: Storage) -> Tensor:
    """Return weights with the values that the page will have."""
    values = weights.detach().cpu().float().contiguous()
    if values.dim() < 2 or storage == "fp32":
        return values
    if storage == "int8":
        levels, scales = quantize(values)
        return levels * scales.view(-1, *(1 for _ in values.shape[1:]))
    return torch.from_numpy(rounded_bits(values.numpy()).reshape(-1).view(np.float32)).view(values.shape)
