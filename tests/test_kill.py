"""A few of the kills of `tests/kill.py`, which holds the whole table."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_and_resumed_runs_equal_those_that_nobody_killed(run_script):
    code, out, err = run_script(Path(__file__).with_name("kill.py"), "--short")
    assert code == 0, out + err
    assert "4 of 4 runs equal" in out
