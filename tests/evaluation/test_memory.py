"""The memory allowed is kept, whatever the largest class: peak resident memory beyond the inputs, measured apart."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dml.evaluation import retrieval_scores

MEASURE = """
import sys
from pathlib import Path
import numpy as np
from dml.evaluation import retrieval_scores

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**10

classes, memory = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
x, y = rng.standard_normal((4000, 64)).astype(np.float32), np.arange(4000) % classes
retrieval_scores(x[:600], y[:600] % 4)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
retrieval_scores(x, y, max_memory=memory)
print(status("VmHWM") - before)
"""


@pytest.mark.parametrize("classes", [1, 1000])
def test_what_numpy_is_asked_for_stays_within_what_was_allowed(classes):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2000, 64)).astype(np.float32), np.arange(2000) % classes
    tracemalloc.start()
    try:
        retrieval_scores(x, y, max_memory="16MiB")  # of one class, 35 MiB where they are allowed
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("classes", [1, 1000])
def test_peak_stays_within_what_was_allowed(classes):
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(classes), "96MiB"], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 96
