"""A few of the kills of `tests/kill.py`, which holds the whole table."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_killed_and_resumed_runs_equal_those_that_nobody_killed():
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    words = [sys.executable, str(_ROOT / "tests" / "kill.py"), "--short"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 runs equal" in done.stdout
