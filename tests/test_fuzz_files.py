"""The short form of `fuzz_files.py`: every kind of file spoilt a few times, by another seed than the script's own."""

import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="the cases run in forked children")
@pytest.mark.parametrize(
    ("cases", "seed"), [(38, 20261121), pytest.param(380, 20261122, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_traceback_no_hang_no_nonsense(monkeypatch, capsys, cases, seed):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    fuzz = importlib.import_module("fuzz_files")
    counts = fuzz.run_cases(cases, seed=seed, only=list(fuzz.FORMATS), show=["traceback", "hang", "nonsense"])
    total = sum(counts.values(), Counter())
    assert total["ok"] + total["line"] == cases, capsys.readouterr().out
    assert min(total["ok"], total["line"]) > cases // 8
