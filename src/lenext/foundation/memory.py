"""The memory that is available on a device."""

from contextlib import suppress
from pathlib import Path

import psutil
import torch

CONTAINER = Path("/sys/fs/cgroup")  # where Linux says what a container may use


def available_bytes(device: torch.device) -> int:
    """Bytes that can still be had where a device keeps its tensors; of a container, what it is allowed."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no such limit here, or `max`
        allowed = int((CONTAINER / "memory.max").read_text())
        used = int((CONTAINER / "memory.current").read_text())
        kept = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())
        free = min(free, allowed - used + int(kept["inactive_file"]))  # files in memory give way
    return free
