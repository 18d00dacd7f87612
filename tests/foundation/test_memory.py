"""Memory that is kept comes back without new pages."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from lenext.foundation.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    raise SystemExit("cannot")
for _ in range(3):
    np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux does")
def test_the_second_time_there_are_no_new_pages() -> None:
    found = {}
    for how in ("kept", "as usual"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
        if "cannot" in done.stderr:
            pytest.skip("another C library than glibc")
        found[how] = int(done.stdout)
    assert found["kept"] < 100
    assert found["as usual"] > 10 * found["kept"]
