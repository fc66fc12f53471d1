"""Command lines end well: the short form of `python tests/fuzz_cli.py --cases 1000`."""

from pathlib import Path


def test_no_command_line_ends_in_a_traceback_a_hang_or_nonsense(tmp_path, monkeypatch, run_script):
    monkeypatch.chdir(tmp_path)
    script = Path(__file__).parents[1] / "fuzz_cli.py"
    code, out, err = run_script(script, "--cases", 24, "--seed", 5)  # beside those that have a name
    assert code == 0, out + err[-2000:]
    assert "75 command lines: " in out
