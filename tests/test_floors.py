"""What must stay light: the package, the front door and every verb's help load no torch."""

import subprocess
import sys

import pytest

from dml.cli import VERBS

_HEAVY = {"torch", "lightning", "sklearn", "faiss", "matplotlib"}
_LOADED = "import sys; {code}; print({heavy} & set(sys.modules))"


def _loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", _LOADED.format(code=code, heavy=_HEAVY)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("module", ["dml", "dml.runs", "dml.errors", "dml.cli"])
def test_importing_it_loads_nothing_heavy(module):
    assert _loaded_by(f"import {module}") == "set()"


def test_every_help_loads_nothing_heavy():
    calls = "; ".join(f"helps({verb!r})" for verb in VERBS)
    code = (
        "from dml.cli import main\n"
        "def helps(verb):\n"
        "    try: main([verb, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        f"main(['--help']); {calls}"
    )
    assert _loaded_by(f"exec({code!r})") == "set()"
