"""Command lines end well: the short form of `python tests/fuzz_cli.py --cases 1000`."""

import subprocess
import sys
from pathlib import Path


def test_no_command_line_ends_in_a_traceback_a_hang_or_nonsense(tmp_path):
    script = Path(__file__).parents[1] / "fuzz_cli.py"
    words = [sys.executable, str(script), "--cases", "24", "--seed", "5"]  # beside those that have a name
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    assert "75 command lines: " in found.stdout
