"""The memory that is available on a device."""

from contextlib import suppress
from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")  # Linux's figures of the container that this process runs in


def available_bytes(device: torch.device) -> int:
    """Return the bytes that a device can still allocate; in a container, at most what it is allowed."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no such limit here, or `max`
        allowed = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        statistics = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, allowed - used + int(statistics["inactive_file"]))  # the page cache gives way
    return free
