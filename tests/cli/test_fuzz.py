"""Command lines end well: the short form of `python tests/fuzz_cli.py --cases 1000`."""

from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz_cli.py"


@pytest.mark.parametrize(
    ("cases", "seed"), [(12, 5), pytest.param(240, 6, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_command_line_ends_in_a_traceback_a_hang_or_nonsense(tmp_path, monkeypatch, run_script, cases, seed):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_script(SCRIPT, "--cases", cases, "--seed", seed)  # beside the 51 that have a name
    assert code == 0, out + err[-2000:]
    assert f"{51 + cases} command lines: " in out
