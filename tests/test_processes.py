"""Two processes are one, and end together: the short form of `tests/processes.py`, which holds the whole table."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the children of a process are looked up in /proc")
def test_two_processes_take_the_steps_of_one_and_end_together():
    words = [sys.executable, str(_ROOT / "tests" / "processes.py"), "--short"]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    difference, end = done.stdout.splitlines()
    assert float(difference) < 1e-5
    assert "exit code 5," in end
    assert " 0 orphans, told: dml: another process of this training died: go on with `dml fit" in end
