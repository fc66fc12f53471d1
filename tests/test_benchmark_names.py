"""Benchmarks run for hours and only now and then: every name of dml that they use must be there."""

import ast
import importlib
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


def names_used(tree):
    """Yield (module, name) of every import from dml, and of every attribute of an imported module of dml."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dml":
            for alias in node.names:
                yield node.module, alias.name
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_name_of_dml_in_a_benchmark_is_there(file):
    for module, name in names_used(ast.parse(file.read_text(encoding="utf-8"))):
        parent, _, last = module.rpartition(".")
        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError:
            owner = getattr(importlib.import_module(parent), last)  # a class or function
        assert hasattr(owner, name) or importlib.import_module(f"{module}.{name}"), f"{module}.{name}"
