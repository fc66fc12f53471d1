"""Two processes are one, and end together: the short form of `tests/processes.py`, which holds the whole table."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dml import runs
from dml.cli import main

_ROOT = Path(__file__).parents[1]


def _train(words):
    assert main(words) == 0


def test_two_processes_of_torchrun_take_the_steps_of_one(tmp_path, monkeypatch, under_torchrun):
    monkeypatch.syspath_prepend(str(_ROOT / "tests"))
    table = importlib.import_module("processes")
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(table.RECIPE)
    assert main(table.words("one", 1, "--trainer.max_epochs", "1")) == 0
    under_torchrun(_train, 2, table.words("two", 2, "--trainer.max_epochs", "1"))
    assert table.furthest("one", "two") < 1e-5
    one, two = (runs.read_scores(Path("runs", name, "scores.json"))["val"] for name in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the children of a process are looked up in /proc")
def test_two_processes_take_the_steps_of_one_and_end_together():
    words = [sys.executable, str(_ROOT / "tests" / "processes.py"), "--short"]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    difference, end = done.stdout.splitlines()
    assert float(difference) < 1e-5
    assert "exit code 5," in end
    assert " 0 orphans, told: dml: another process of this training died: go on with `dml fit" in end
