"""Memory that the process keeps is allocated again without new pages."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from lenext.acceleration.memory import keep_freed_memory_until_exit
if sys.argv[1] == "kept" and not keep_freed_memory_until_exit():
    raise SystemExit("cannot")
for _ in range(3):
    np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux does")
def test_freed_memory_is_allocated_again_without_new_pages() -> None:
    page_faults = {}
    for policy in ("kept", "as usual"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, policy], capture_output=True, text=True, check=False)
        if "cannot" in done.stderr:
            pytest.skip("another C library than glibc")
        page_faults[policy] = int(done.stdout)
    assert page_faults["kept"] < 100
    assert page_faults["as usual"] > 10 * page_faults["kept"]
