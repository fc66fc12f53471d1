"""The memory allowed is kept, whatever the largest class: peak resident memory beyond the inputs, measured apart."""

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import os
import sys
from pathlib import Path
import numpy as np
from dml.evaluation import retrieval_scores

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**10

memory, *counts = sys.argv[1:]
rng = np.random.default_rng(0)
x = rng.standard_normal((4000, 64)).astype(np.float32)
for classes in map(int, counts):
    if os.fork():
        assert os.wait()[1] == 0
        continue
    y = np.arange(4000) % classes
    retrieval_scores(x[:600], y[:600] % 4)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    retrieval_scores(x, y, max_memory=memory)
    print(status("VmHWM") - before)
    break
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_peak_stays_within_what_was_allowed_for_one_class_and_for_a_thousand():
    words = [sys.executable, "-c", MEASURE, "96MiB", "1", "1000"]
    peaks = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert len(peaks) == 2
    assert max(map(float, peaks)) < 96
