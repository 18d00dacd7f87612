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
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def find_device(wanted: str) -> torch.device:
    """The device asked for; refused, never replaced, where the machine has none."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if has[name]))
    if wanted not in has:
        raise ConfigurationError(unknown_name("device", wanted, get_args(Device)))
    if not has[wanted]:
        here = ", ".join(name for name, there in has.items() if there)
        raise ConfigurationError(f"device={wanted}: this machine has none that torch can use; here are: {here}")
    return torch.device(wanted)


def find_precision(wanted: str, device: torch.device) -> str:
    """The autocast precision for a device: what it multiplies fastest with fp32 weights, or what was asked for."""
    if wanted != "auto" and wanted not in DTYPES:
        raise ConfigurationError(unknown_name("precision", wanted, get_args(Precision)))
    if device.type == "cuda":
        return wanted if wanted != "auto" else ("bf16" if torch.cuda.is_bf16_supported(False) else "fp16")
    if device.type == "cpu":
        if wanted == "fp16":
            raise ConfigurationError("precision=fp16: a CPU trains in fp32 or bf16; give one of these, or auto")
        return wanted if wanted != "auto" else ("bf16" if cpu_has_bf16() else "fp32")
    return wanted if wanted != "auto" else "fp32"


@dataclass(frozen=True)
class Compute:
    """A device with the precision and memory format to use on it."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", memory_format: str = "auto") -> "Compute":
        """Resolve `auto`; refuse what the machine lacks (ConfigurationError)."""
        found = find_device(device)
        plain = memory_format == "contiguous" or (memory_format == "auto" and found.type == "mps")
        layout = torch.contiguous_format if plain else torch.channels_last
        return cls(found, find_precision(precision, found), layout)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a forward pass runs; the weights stay fp32."""
        return torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def move_images(self, images: Tensor) -> Tensor:
        """Move a batch of images (N, C, H, W) here, in this memory format."""
        return images.to(self.device, non_blocking=True, memory_format=self.memory_format)

    def describe(self) -> str:
        """One line for a person."""
        layout = "channels last" if self.memory_format == torch.channels_last else "contiguous"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type
        return f"{name}, {self.precision}{' autocast' if self.precision != 'fp32' else ''}, {layout}{threads}"
