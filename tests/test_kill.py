"""Some of the kills of `tests/kill.py`, which holds the whole table: of two recipes, and of all where there is time."""

from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill.py")


def test_killed_and_resumed_runs_equal_those_that_nobody_killed(run_script):
    code, out, err = run_script(SCRIPT, "--short")
    assert code == 0, out + err
    assert "2 of 2 runs equal" in out


@pytest.mark.slow
def test_so_do_those_of_every_recipe(run_script):
    code, out, err = run_script(SCRIPT, "--kinds", 1, "--seed", 1)
    assert code == 0, out + err
    assert "16 of 16 runs equal" in out
