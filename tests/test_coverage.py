"""Every place that the coverage list names is there: cells by words that they hold, tests and files by their paths."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
COVERAGE = (ROOT / "benchmarks" / "results" / "coverage.md").read_text(encoding="utf-8")


def _sections(notebook):
    """Return the sources of a notebook's cells by section: `C1` of a heading `## C1. …`, from there to the next."""
    sections, name = {}, notebook.name.partition("_")[0] + "."
    for cell in nbformat.read(notebook, as_version=4).cells:
        for part in re.split(r"(?m)^(?=## )", cell.source) if cell.cell_type == "markdown" else [cell.source]:
            if cell.cell_type == "markdown" and (heading := re.match(r"## (\w+)\.", part)):
                name = heading[1]
            sections[name] = sections.get(name, "") + part + "\n"
    return sections


def _rows():
    for text in COVERAGE.split("\n## ")[1:]:
        heading, *lines = text.splitlines()
        notebook = re.search(r"`(notebooks/[^`]+)`", heading)[1]
        for line in lines:
            if line.startswith("| ") and not line.startswith("| item"):
                cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                yield pytest.param(ROOT / notebook, *cells, id=f"{cells[1]} {cells[0][:40]}")


@pytest.mark.parametrize(("notebook", "item", "section", "where"), list(_rows()))
def test_what_it_names_is_there(notebook, item, section, where):
    words = [found.replace('\\"', '"').replace("\\|", "|") for found in re.findall(r'"((?:[^"\\]|\\.)+)"', where)]
    paths = re.findall(r"`([^`]+)`", where)
    if where.startswith("missing"):
        return
    assert words or paths, f"{item}: no place is named"
    source = _sections(notebook)[section]
    assert [found for found in words if found not in source] == []
    assert [path for path in paths if not (ROOT / path).is_file()] == []
