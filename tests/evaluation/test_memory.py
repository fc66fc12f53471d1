"""The memory allowed is kept, whatever the largest class: peak resident memory beyond the inputs, measured apart."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from dml.evaluation import retrieval_scores


def _status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**10


def _measure(classes, memory, found):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4000, 64)).astype(np.float32), np.arange(4000) % classes
    retrieval_scores(x[:600], y[:600] % 4)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve unseen
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    retrieval_scores(x, y, max_memory=memory)
    found.write_text(str(_status("VmHWM") - before))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("classes", [1, 1000])
def test_peak_stays_within_what_was_allowed(tmp_path, in_process, classes):
    assert in_process(_measure, classes, "96MiB", tmp_path / "found") == 0
    assert float((tmp_path / "found").read_text()) < 96
