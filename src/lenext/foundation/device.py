"""The device, precision and memory format to compute with, chosen from a table and never by timing.

A choice by timing would differ from one run to the next, and with it the bits of the result.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.settings import Device, Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def find_device(name: str) -> torch.device:
    """Return the device of this name; `auto` takes the fastest one.

    Raises:
        ConfigurationError: The machine lacks the device; it is never replaced by another one.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if name not in available:
        raise ConfigurationError(unknown_name("device", name, get_args(Device)))
    if not available[name]:
        names = ", ".join(kind for kind, is_available in available.items() if is_available)
        raise ConfigurationError(f"device={name}: this machine has none that torch can use; choose from: {names}")
    return torch.device(name)


def find_precision(name: str, device: torch.device) -> str:
    """Return the autocast precision of this name; `auto` takes what a device multiplies fastest with fp32 weights.

    Raises:
        ConfigurationError: An unknown precision, or one that the device cannot train in.
    """
    if name != "auto":
        if name not in DTYPES:
            raise ConfigurationError(unknown_name("precision", name, get_args(Precision)))
        if name == "fp16" and device.type == "cpu":
            raise ConfigurationError("precision=fp16: a CPU trains in fp32 or bf16; choose one of these, or auto")
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


@dataclass(frozen=True)
class Compute:
    """A device with the precision and memory format to use on it."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", memory_format: str = "auto") -> "Compute":
        """Resolve `auto`.

        Raises:
            ConfigurationError: The machine lacks the device, or the device the precision.
        """
        chosen = find_device(device)
        contiguous = memory_format == "contiguous" or (memory_format == "auto" and chosen.type == "mps")
        layout = torch.contiguous_format if contiguous else torch.channels_last
        return cls(chosen, find_precision(precision, chosen), layout)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which a forward pass runs; the weights stay fp32."""
        return torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def move_images(self, images: Tensor) -> Tensor:
        """Move a batch of images (N, C, H, W) to the device, in the memory format."""
        return images.to(self.device, non_blocking=True, memory_format=self.memory_format)

    def describe(self) -> str:
        """Format the device, precision, memory format and threads in one line."""
        layout = "channels last" if self.memory_format == torch.channels_last else "contiguous"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type
        return f"{name}, {self.precision}{' autocast' if self.precision != 'fp32' else ''}, {layout}{threads}"
