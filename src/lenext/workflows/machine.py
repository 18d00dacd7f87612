"""The machine: what a run keeps of it, and what `checks` prints."""

import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lenext.data import DATASETS, cifar, idx
from lenext.foundation.device import Compute, cpu_has_bf16
from lenext.foundation.files import cache_folder

PACKAGES = ("lenext", "torch", "numpy", "pillow", "safetensors", "scikit-learn", "matplotlib")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def commit() -> str | None:
    """Return the git commit of the working directory, if there is one."""
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def processor() -> str:
    """Return the name of the CPU; empty when the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def environment(compute: Compute) -> dict[str, Any]:
    """Return versions, device, threads, precision and memory format; a run keeps them."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "command": sys.argv,
        "commit": commit(),
        "device": str(compute.device),
        "device_name": torch.cuda.get_device_name() if compute.device.type == "cuda" else processor(),
        "precision": compute.precision,
        "memory_format": str(compute.memory_format).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def machine(compute: Compute) -> str:
    """Return what the machine computes on, in one line."""
    facts = environment(compute)
    return f"{facts['device_name'] or facts['platform']}; {compute.describe()}"


def locate_datasets(data_dir: Path) -> dict[str, str]:
    """Return the folder of each published dataset, or that it would be downloaded."""
    places = {}
    for name, entry in DATASETS.items():
        finder = cifar.find_folder if name == "cifar10" else idx.find_folder
        folder = finder(data_dir / entry.folder if name != "cifar10" else data_dir) if entry.folder else None
        places[name] = str(folder) if folder else ("comes with scikit-learn" if not entry.folder else "not here yet")
    return places


def checks(data_dir: str | Path | None = None) -> dict[str, str]:
    """Return what to look at when something is slow or missing: versions, device, precision, threads, data."""
    folder = Path(data_dir).expanduser() if data_dir else cache_folder()
    devices = ["cpu"]
    devices += ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    facts = versions()
    facts |= {
        "platform": platform.platform(),
        "devices": ", ".join(devices),
        "training on": Compute.choose().describe(),
        "bf16 in the CPU": "yes" if cpu_has_bf16() else "no (training on it uses fp32)",
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "data folder": str(folder),
    }
    return facts | locate_datasets(folder)
