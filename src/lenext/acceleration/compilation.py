"""torch.compile: whether it is available, for which trainings it pays, and the compiled step."""

import os
import shutil
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError

MIN_SAMPLES = {"densenet_32px": 160_000}
"""By network, the samples over all epochs from which a compiled step on a CPU saves twice the time of compiling it.
Measured by `benchmarks.training` on 4 threads; the other networks gain nothing there, and on 2 threads none does."""
MIN_THREADS = 4


def has_compiler() -> bool:
    """Return whether a C++ compiler and Python's headers are installed, which compiling for a CPU needs."""
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    return Path(sysconfig.get_path("include"), "Python.h").exists() and any(map(shutil.which, compilers))


def pays_to_compile(network: str, samples: int, compute: Compute) -> bool:
    """Return whether compiling saves time.

    It is looked up in a table: a choice by timing would not give the same bits again.

    Args:
        network: The name of the network.
        samples: Training samples over all epochs.
        compute: Where training runs.
    """
    pays = network in MIN_SAMPLES and samples >= MIN_SAMPLES[network] and torch.get_num_threads() >= MIN_THREADS
    return pays and compute.device.type == "cpu" and has_compiler()


def compile_step(step: nn.Module, mode: Literal["no", "yes", "cuda_graphs"], compute: Compute) -> nn.Module:
    """Return a training step, compiled as the recipe asks.

    What the compiler makes is kept in the user's cache folder, for later trainings of the same network.

    Raises:
        ConfigurationError: The machine cannot compile.
    """
    if mode == "no":
        return step
    device = compute.device.type
    if mode == "cuda_graphs" and device != "cuda":
        raise ConfigurationError(
            f"compile=cuda_graphs: it needs an NVIDIA GPU, and this runs on {device}; give yes or no"
        )
    if device == "cpu" and not has_compiler():
        raise ConfigurationError(
            "compile=yes: on a CPU it needs a C++ compiler and Python's headers (g++, python3-dev); give no"
        )
    folder = Path.home() / ".cache" / "lenext" / "compiled"
    with suppress(OSError):  # torch's temporary folder serves as well, until it is emptied
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    torch_mode = "reduce-overhead" if mode == "cuda_graphs" else None
    return torch.compile(step, mode=torch_mode)  # type: ignore[return-value]
