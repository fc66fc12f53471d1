"""Two and three processes give the losses and gradients of one; `certify.py` starts them and compares."""

import json
import subprocess
import sys
from pathlib import Path


def test_several_processes_are_one() -> None:
    script = Path(__file__).with_name("certify.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    certificates = [json.loads(line) for line in done.stdout.splitlines()]
    assert [certificate["processes"] for certificate in certificates] == [2, 3]
    for certificate in certificates:
        assert len(certificate["errors"]) >= 10
        assert all(error < 1e-5 for error in certificate["errors"].values()), certificate
