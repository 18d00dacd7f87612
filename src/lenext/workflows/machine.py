"""The machine a run is made on: what is kept with the run, and what `checks` shows."""

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
    """Of Python and of what results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str | None:
    """The commit of the folder one works in, if it is under git."""
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def processor() -> str:
    """The CPU's name; empty where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def environment(compute: Compute) -> dict[str, Any]:
    """Versions, device, threads, precision and memory format in use; a run keeps it."""
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
    """In a line: what it computes on."""
    found = environment(compute)
    return f"{found['device_name'] or found['platform']}; {compute.describe()}"


def data_found(data_dir: Path) -> dict[str, str]:
    """For each published data set, where it lies, or that it would be fetched."""
    found = {}
    for name, entry in DATASETS.items():
        finder = cifar.find_folder if name == "cifar10" else idx.find_folder
        place = finder(data_dir / entry.folder if name != "cifar10" else data_dir) if entry.folder else None
        found[name] = str(place) if place else ("comes with scikit-learn" if not entry.folder else "not here yet")
    return found


def checks(data_dir: str | Path | None = None) -> dict[str, str]:
    """What a person asks first when something is slow or missing: versions, device, precision, threads, data."""
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
    return facts | data_found(folder)
