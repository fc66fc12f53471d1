"""What must stay light: the package, the front door and every verb's help load no torch."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from dml.cli import VERBS

_ROOT = Path(__file__).parent.parent

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


def _imported():
    for file in (_ROOT / "dml").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.partition(".")[0]


def test_every_imported_package_is_a_declared_dependency():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[>=<]", line)[0].lower() for line in project["dependencies"]}
    third_party = set(_imported()) - set(sys.stdlib_module_names) - {"dml"}
    owners = packages_distributions()
    undeclared = {name for name in third_party if declared.isdisjoint(d.lower() for d in owners.get(name, [name]))}
    assert undeclared == set()
