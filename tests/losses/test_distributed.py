"""Two and three processes give the losses and gradients of one; `certify.py` starts them and compares."""

import json
from pathlib import Path


def test_several_processes_are_one(run_script) -> None:
    script = Path(__file__).with_name("certify.py")
    code, out, err = run_script(script)
    assert code == 0, err
    told = [line for line in out.splitlines() if not line.startswith("[Gloo]")]  # torch 2.8 greets
    certificates = [json.loads(line) for line in told]
    assert [certificate["processes"] for certificate in certificates] == [2, 3]
    for certificate in certificates:
        assert len(certificate["errors"]) >= 10
        assert all(error < 1e-5 for error in certificate["errors"].values()), certificate
