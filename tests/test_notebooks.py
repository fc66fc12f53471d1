"""Every notebook is committed with its outputs, defines nothing that belongs in dml, and runs from a clean kernel."""

import ast
import importlib
import os
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient

_FOLDER = Path(__file__).parent.parent / "notebooks"
_NOTEBOOKS = sorted(_FOLDER.glob("*.ipynb"))
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|opt|mnt|data)/|[A-Z]:\\Users|site-packages")
_LARGEST = 1_500_000  # bytes
_LONGEST_FUNCTION = 10  # lines

each_notebook = pytest.mark.parametrize("file", _NOTEBOOKS, ids=lambda file: file.stem)


def _code_cells(file):
    return [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]


def _texts(outputs):
    for output in outputs:
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_are_notebooks():
    assert _NOTEBOOKS


@each_notebook
def test_it_is_valid_and_of_modest_size(file):
    nbformat.validate(nbformat.read(file, as_version=4))
    assert file.stat().st_size < _LARGEST


@each_notebook
def test_it_is_committed_as_one_clean_run_left_it(file):
    cells = _code_cells(file)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@each_notebook
def test_its_outputs_name_no_path_of_a_machine(file):
    found = [text for cell in _code_cells(file) for text in _texts(cell.outputs) if _MACHINE_PATH.search(text)]
    assert found == []


@each_notebook
def test_it_defines_nothing_that_belongs_in_the_package(file):
    for cell in _code_cells(file):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"class {node.name}: put it into dml/"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= _LONGEST_FUNCTION, f"{node.name} has {lines} lines: put it into dml/"


@each_notebook
def test_every_name_of_dml_that_it_imports_is_there(file):
    for cell in _code_cells(file):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "dml":
                owner = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(owner, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


def _run_cells(file):
    os.chdir(_FOLDER)
    shell = InteractiveShell()
    for cell in _code_cells(file):
        shell.run_cell(cell.source).raise_error()


@pytest.mark.parametrize("file", [file for file in _NOTEBOOKS if file.stem[0] in "ABC"], ids=lambda file: file.stem)
def test_its_cells_run(file, tmp_path, monkeypatch, in_process):
    for name in ("IPYTHONDIR", "DML_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert in_process(_run_cells, file) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries; dml's run in the kernel
@each_notebook
def test_it_runs_from_a_clean_kernel(file, tmp_path):
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folders = {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "DML_CACHE")}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(_FOLDER)}})
    client.execute(env={**os.environ, **folders})  # raises CellExecutionError with the cell and its traceback
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
